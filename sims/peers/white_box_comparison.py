"""Our white-box attacks beside public ones: the same network, gradients, images and radius, from random starts.

Both sides ask the same network in JAX for gradients, so that only the attacks differ; the images that either side ends
with are judged by the same forward passes. Two runs of one attack from other starts differ too: several starts tell
how much of a difference is luck.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
import tyro
import xarray as xr

from defenses.files.folders import Folders
from defenses.options.names import Choice, NumberOption
from sims.attacks.attack import Threat
from sims.attacks.ball import check_ball, lengths
from sims.engine.run import Schedule
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.intervals import difference_of_shares
from sims.measurements.fresh_draws import times_predicted, times_right
from sims.peers.gradient_attacks import GradientPeer, GradientTask, find_gradient_peer, run_gradient_peer
from sims.peers.gradients import differentiable_module
from sims.peers.table import peer_versions
from sims.victims.oracle import oracle_of
from sims.victims.victim import Victim, VictimOptions, check_one_model, load_victim, seconds_per_row, victim_inputs
from sims.white_box.cost import passes
from sims.white_box.restarts import AttackPlan, with_restarts

SIDES = ("ours", "theirs")
QUERIES = 5000  # of Square, the last of both ensembles
ROUNDING = 1e-5  # of the radius, in float32


@dataclass(frozen=True)
class Config:
    """Pairs of our white-box attack and a public one, on an undefended network; needs the extra [peers]."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    pairs: tuple[str, ...] = ("pgd-torchattacks", "apgd-ce-autoattack")
    """Which pairs, each named after our attack and the library."""
    images: int = 1000
    """Held-out images that the classifier gets right."""
    epsilon: NumberOption = 8 / 255
    """Radius of the ball in the pair's norm, pixel units, > 0 and finite."""
    starts: int = 1
    """Runs of either side, each from other random starting points, >= 1."""
    rows: int = 64
    """Rows our attacks have in flight."""
    tile: int = 16
    """Rows per pass of our attacks, and of the judge of both."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_common(self, "pairs", images=2, starts=1)
        check_one_model(self.victim)
        check_ball(self.epsilon)
        for name in self.pairs:
            find_gradient_peer(name)
        Schedule(QUERIES, self.rows, self.tile)


def inputs(config: Config, folders: Folders) -> dict[str, Any]:
    """What the run reads, and the versions of the peers; ValueError names the extra when a package is missing."""
    return {"peers": peer_versions(tuple(map(find_gradient_peer, config.pairs))), **victim_inputs(config, folders)}


def plan(config: Config) -> Plan:
    """Forward passes when no image falls, a gradient counted as three; both sides alike."""
    each = sum(passes(find_gradient_peer(name).ours, QUERIES) for name in config.pairs)
    rows = 2 * config.starts * config.images * each
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), 3000)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Both sides of every pair, from every start."""
    victim = load_victim(config.victim, (), config.images, context.folders, config.seed)
    peers = [find_gradient_peer(name) for name in config.pairs]
    right, distance = [], []
    for peer in peers:
        found = [[side(config, context, victim, peer, i) for side in (_ours, _theirs)] for i in range(config.starts)]
        right.append([[_right(config, victim, images) for images in both] for both in found])
        distance.append([[_lengths(peer, victim, images) for images in both] for both in found])
    dims = ("pair", "start", "side", "image")
    data = {
        "right": (dims, np.array(right), {"long_name": "the final image is classified correctly"}),
        "distance": (dims, np.array(distance), {"units": "pixel units", "long_name": "of the final image"}),
    }
    return xr.Dataset(data, {"pair": list(config.pairs), "side": list(SIDES), "image": victim.ids}), {}


def _ours(config: Config, context: Context, victim: Victim, peer: GradientPeer, start: int) -> np.ndarray:
    task = f"{peer.name}, ours, start {start}"
    plan = AttackPlan(
        Threat(peer.norm, config.epsilon, QUERIES),
        rows=config.rows,
        tile=config.tile,
        checkpoints=context.state_of(peer.name, str(start)),
        advance=partial(context.advance, task),
    )
    key = jax.random.fold_in(jax.random.key(config.seed), start)
    return with_restarts(key, peer.ours, plan, victim, victim.network).images


def _theirs(config: Config, context: Context, victim: Victim, peer: GradientPeer, start: int) -> np.ndarray:
    module = differentiable_module(victim.network, config.seed)
    task = GradientTask(victim.images, victim.labels, config.epsilon, config.seed + 10_000 * start)
    name, count = f"{peer.name}, theirs, start {start}", len(victim.images)
    return run_gradient_peer(peer, module, task, lambda done: context.advance(name, done, count))


def _right(config: Config, victim: Victim, images: np.ndarray) -> np.ndarray:
    judge = oracle_of(victim.network, "label")
    return times_right(victim.labels, times_predicted(jax.random.key(0), judge, images, 1, config.tile)) == 1


def _lengths(peer: GradientPeer, victim: Victim, images: np.ndarray) -> np.ndarray:
    return lengths(peer.norm, images.astype(np.float64) - victim.images)


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per pair; `ok` when every difference is within its limit and no final image lies outside the ball."""
    config = manifest["config"]
    rows = [_row(find_gradient_peer(str(name)), data.sel(pair=name), config) for name in data.pair.values]
    return {"rows": rows, "epsilon": config["epsilon"], "ok": all(row["ok"] for row in rows)}


def _row(peer: GradientPeer, cell: xr.Dataset, config: dict[str, Any]) -> dict[str, Any]:
    """Robust accuracies, means over the starts, and their difference with its 95 % interval over images.

    ours_only, theirs_only: images that this side breaks more often than the other.
    """
    ours, theirs = (cell.right.sel(side=side).mean("start").values for side in SIDES)
    gap = difference_of_shares(ours, theirs, config["seed"])
    outside = [int((cell.distance.sel(side=side) > config["epsilon"] * (1 + ROUNDING)).sum()) for side in SIDES]
    return {
        "pair": peer.name,
        "norm": peer.norm,
        "ours": float(ours.mean()),
        "theirs": float(theirs.mean()),
        "difference": gap.value,
        "interval": [gap.low, gap.high],
        "ours_only": int((ours < theirs).sum()),
        "theirs_only": int((ours > theirs).sum()),
        "outside_the_ball": outside,
        "limit": peer.limit,
        "ok": abs(gap.value) <= peer.limit and outside[0] == 0,
    }


def threats(config: Config) -> list[Threat]:
    """What both sides may do, pair by pair."""
    return [Threat(find_gradient_peer(name).norm, config.epsilon, QUERIES) for name in config.pairs]


def attacks(config: Config) -> tuple[Choice, ...]:
    """Ours, of all pairs."""
    return tuple(find_gradient_peer(name).ours for name in config.pairs)


EXPERIMENT = Experiment(Config, plan, run, report, inputs, threats=threats, choices=attacks)
