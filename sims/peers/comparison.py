"""Our attacks beside public implementations: the same images, victim, budget, radius and starting points.

Every pair runs on the victim's JAX forward pass, so that the difference in wall time is the attack's own cost and its
batching. A peer is judged by the best image it queried within the budget (`peers.account`).
"""

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
import xarray as xr

from defenses.files.folders import Folders
from defenses.model import Model
from defenses.options.names import Choice, NumberOption
from defenses.purifiers.table import DefenseOption, read_defense
from sims.attacks.attack import Threat
from sims.attacks.ball import Norm, check_ball, lengths
from sims.attacks.table import build_attack
from sims.engine.run import Result, Schedule, compile_run, queue_of, run_attack
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.peers.adapter import CountingVictim
from sims.peers.comparison_report import report
from sims.peers.peer import Outcome, Peer, Task, run_peer
from sims.peers.table import PEERS, find_peer, peer_versions
from sims.victims.oracle import oracle_of
from sims.victims.starts import starting_images
from sims.victims.victim import Victim, VictimOptions, check_one_model, load_victim, seconds_per_row, victim_inputs

SIDES = ("ours", "theirs")
RUNS = ("images alone", "images together")


@dataclass(frozen=True)
class Config:
    """Pairs of our attack and a public one; needs the extra [peers]."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defense: DefenseOption = read_defense("none")
    """Defence of the victim."""
    pairs: tuple[str, ...] = tuple(PEERS)
    """Which pairs, each named after our attack and the library."""
    images: int = 200
    """Held-out images that the undefended classifier gets right."""
    query_budget: int = 1000
    """Rows one image may cost."""
    epsilon: NumberOption = 0.15
    """Radius of the ℓ∞ ball, pixel units; the pairs without a ball have none."""
    batch: int = 64
    """Images given together to a peer that takes several."""
    batch_images: int = 64
    """Images on which such a peer runs once more, alone and together, to see whether the batch matters."""
    rows: int = 64
    """Rows our attacks have in flight."""
    tile: int = 16
    """Rows per forward pass of our attacks."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_common(self, "pairs", images=2, query_budget=1, batch=2, batch_images=2)
        check_ball(self.epsilon)
        check_one_model(self.victim)
        Schedule(self.query_budget, self.rows, self.tile)
        for name in self.pairs:
            peer = find_peer(name)
            build_attack(peer.ours, threat_of(self, peer))


class Ours(NamedTuple):
    """Our attack: its result, processor time, and the share of a tile's images unchanged when it runs alone."""

    result: Result
    processor_seconds: float
    identical: float


class Cell(NamedTuple):
    """One pair: our side, the peer's, and the peer's distances on the first images, alone and together."""

    ours: Ours
    theirs: Outcome
    alone: np.ndarray
    together: np.ndarray


def inputs(config: Config, folders: Folders) -> dict[str, Any]:
    """What the run reads, and the versions of the peers; ValueError names the extra when a package is missing."""
    return {"peers": peer_versions(tuple(map(find_peer, config.pairs))), **victim_inputs(config, folders)}


def threat_of(config: Config, peer: Peer) -> Threat:
    """What both sides of that pair may do."""
    epsilon = config.epsilon if peer.goal == "ball" else float("inf")
    return Threat(peer.norm, epsilon, config.query_budget)


def plan(config: Config) -> Plan:
    """Rows when both sides use the whole budget; image by image a row costs about four times as much."""
    pairs, few = [find_peer(name) for name in config.pairs], min(config.batch_images, config.images)
    attacks = len({(peer.ours, threat_of(config, peer)) for peer in pairs})
    images = attacks * (config.images + config.tile) + sum(config.images + few * peer.batches for peer in pairs)
    return Plan(images * config.query_budget, 4 * images * config.query_budget * seconds_per_row(config.victim), 1200)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Run every pair on the same images and starts."""
    victim = load_victim(config.victim, (config.defense,), config.images, context.folders, config.seed)
    starts = victim.images[starting_images(victim.labels, victim.ids, config.seed)]
    counting = CountingVictim(_model(victim), victim.images.shape[1:], config.seed)
    counting.compile()
    attacks, cells = {}, []
    for peer in map(find_peer, config.pairs):
        threat = threat_of(config, peer)
        if (peer.ours, threat) not in attacks:
            context.advance(f"{peer.ours}, ours", 0, 1)
            attacks[peer.ours, threat] = _ours(config, victim, starts, peer)
            context.advance(f"{peer.ours}, ours", 1, 1)
        cells.append(_cell(config, context, victim, counting, starts, peer, attacks[peer.ours, threat]))
    rows = sum(cell.theirs.forwarded for cell in cells) + sum(ours.result.evaluated for ours in attacks.values())
    return _dataset(config, victim, cells), {"queries": rows}


def _model(victim: Victim) -> Model:
    """The one that is attacked."""
    return next(iter(victim.models.values()))


def _cell(
    config: Config,
    context: Context,
    victim: Victim,
    counting: CountingVictim,
    starts: np.ndarray,
    peer: Peer,
    ours: Ours,
) -> Cell:
    """The peer on all images, and once more on the first ones: together if it had them alone, and the other way."""
    epsilon = threat_of(config, peer).epsilon
    task = Task(victim.images, victim.labels.astype(np.int64), starts, config.query_budget, epsilon, config.seed)
    few = min(config.batch_images, len(victim.images))
    small = task._replace(images=task.images[:few], labels=task.labels[:few], starts=starts[:few])

    def peer_on(task: Task, batch: int) -> Outcome:
        name = f"{peer.name}, {min(batch, len(task.images))} of {len(task.images)} at a time"
        return run_peer(peer, counting, task, batch, lambda done: context.advance(name, done, len(task.images)))

    theirs = peer_on(task, peer.batch or config.batch)
    first = theirs.distance[:few]
    if not peer.batches:
        return Cell(ours, theirs, np.full(few, np.nan), np.full(few, np.nan))
    other = peer_on(small, config.batch if peer.batch == 1 else 1).distance
    return Cell(ours, theirs, first, other) if peer.batch == 1 else Cell(ours, theirs, other, first)


def _ours(config: Config, victim: Victim, starts: np.ndarray, peer: Peer) -> Ours:
    """Our attack on all images, and once more on a tile of them alone."""
    few = min(config.tile, len(victim.images))
    result, seconds = _timed(config, victim, starts, peer, len(victim.images), config.rows)
    again, _ = _timed(config, victim, starts, peer, few, config.tile)
    same = (again.queries == result.queries[:few]) & (again.images == result.images[:few]).all(axis=(1, 2, 3))
    return Ours(result, seconds, float(same.mean()))


def _timed(config: Config, victim: Victim, starts, peer: Peer, count: int, rows: int) -> tuple[Result, float]:
    """Our attack on the first `count` images and its processor time; compiled beforehand, as the peers' victim is."""
    attack = build_attack(peer.ours, threat_of(config, peer))
    oracle = oracle_of(_model(victim), attack.feedback)
    schedule, key = Schedule(config.query_budget, rows, config.tile), jax.random.key(config.seed)
    images, labels, ids, begin = (rows[:count] for rows in (victim.images, victim.labels, victim.ids, starts))
    compile_run(attack, oracle, queue_of(key, images, labels, ids, begin), schedule)
    started = time.process_time()
    result = run_attack(key, attack, oracle, images, labels, ids, schedule, starts=begin)
    return result, time.process_time() - started


def _dataset(config: Config, victim: Victim, cells: list[Cell]) -> xr.Dataset:
    dims, peers = ("pair", "side", "image"), [find_peer(name) for name in config.pairs]
    ours, theirs = [cell.ours.result for cell in cells], [cell.theirs for cell in cells]
    reached = [distances(p.norm, victim.images, r.images, r.success) for p, r in zip(peers, ours, strict=True)]

    def sides(ours: list[Any], theirs: list[Any]) -> np.ndarray:
        return np.stack([np.array(ours), np.array(theirs)], axis=1)

    def of_theirs(field: str) -> np.ndarray:
        return np.array([getattr(outcome, field) for outcome in theirs])

    processor = sides([cell.ours.processor_seconds for cell in cells], list(of_theirs("processor_seconds")))
    counted = [np.nan if outcome.counted is None else float(outcome.counted) for outcome in theirs]
    data = {
        "distance": (dims, sides(reached, list(of_theirs("distance"))), {"long_name": "of the adversarial image"}),
        "queries": (dims, sides([r.queries for r in ours], list(of_theirs("queries"))), {"units": "rows"}),
        "forwarded": (dims[:2], sides([r.evaluated + r.padded for r in ours], list(of_theirs("forwarded")))),
        "seconds": (dims[:2], sides([r.seconds for r in ours], list(of_theirs("seconds"))), {"units": "s"}),
        "processor_seconds": (dims[:2], processor, {"units": "s", "long_name": "of all cores"}),
        "seconds_in_the_network": ("pair", of_theirs("forward_seconds"), {"units": "s"}),
        "outside": ("pair", of_theirs("outside"), {"long_name": "rows outside the box"}),
        "counted": ("pair", np.array(counted), {"long_name": "by the peer itself"}),
        "failure": ("pair", [outcome.failure for outcome in theirs]),
        "failed": ("pair", of_theirs("failed")),
        "batch_distance": (("pair", "run", "first"), np.array([[cell.alone, cell.together] for cell in cells])),
        "ours_identical": ("pair", np.array([cell.ours.identical for cell in cells])),
    }
    coordinates = {"pair": list(config.pairs), "side": list(SIDES), "run": list(RUNS), "image": victim.ids}
    return xr.Dataset(data, coordinates)


def distances(norm: Norm, clean: np.ndarray, images: np.ndarray, success: np.ndarray) -> np.ndarray:
    """(n,) float64 distance of the adversarial images, inf without success."""
    return np.where(success, lengths(norm, images.astype(np.float64) - clean), np.inf)


def threats(config: Config) -> list[Threat]:
    """What both sides may do, pair by pair."""
    return [threat_of(config, find_peer(name)) for name in config.pairs]


def attacks(config: Config) -> tuple[Choice, ...]:
    """Ours, of all pairs."""
    return tuple(find_peer(name).ours for name in config.pairs)


EXPERIMENT = Experiment(Config, plan, run, report, inputs, threats=threats, choices=attacks)
