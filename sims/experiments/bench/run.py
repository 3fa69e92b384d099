"""Bench: what engine and dispatch cost beside the bare networks, and whether memory grows, as ratios in one run."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import initial, network_classifier
from defenses.data.normalization import NORMALIZATIONS
from defenses.model import Model, undefended
from defenses.options.names import Choice, NumberOption
from sims.attacks.attack import Threat
from sims.attacks.table import AttackOptions, attack_choices, build_attack, read_attack
from sims.engine.run import Result, Schedule, compile_run, queue_of, run_attack
from sims.experiments.bench.dispatch_cost import dispatch_ratios
from sims.experiments.bench.own_cost import own_milliseconds
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.victims.oracle import oracle_of

SHAPE = (32, 32, 3)
BATCHES = (16, 32, 64, 128, 1024)
HEADS = {"resnet20": "linear", "wide-resnet-28-10": "fc"}  # networks, and what each calls its last layer
EASY_DISTANCE = {"linf": 0.4, "l2": 12.0}  # radii that decision attacks reach early
OVERHEAD_LIMITS = {"nes": 1.10}  # of the whole budget; 1.15 for the others
OWN_COST_LIMITS = {"square": 0.4, "hop-skip-jump": 1.0, "boundary": 1.0}
MEASURE_MEMORY = (
    "import resource, sys; from sims.command_line import main; main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
)


@dataclass(frozen=True)
class Config:
    """Engine overhead and waste on a CIFAR-size network with random weights, and the memory of `moments`."""

    model: str = "resnet20"
    """Network that is attacked: resnet20 or wide-resnet-28-10."""
    images: int = 128
    """Images in the queue."""
    query_budget: int = 105
    """Rows one image may cost."""
    repeats: int = 3
    """Timed runs of each case, each between two bare measurements; the median ratio counts."""
    attacks: AttackOptions = attack_choices("square", "nes", "simba", "boundary", "hop-skip-jump")
    """Attacks whose overhead and waste are measured."""
    rows: int = 64
    """Rows in flight."""
    tile: int = 16
    """Rows per forward pass."""
    hard_epsilon: NumberOption = 0.0001
    """Radius at which at least half of the images use the whole budget, pixel units."""
    easy_epsilon: NumberOption = 0.4
    """Radius at which most images fall early, pixel units."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        if self.model not in HEADS:
            raise ValueError(f"model must be of {', '.join(HEADS)}, got {self.model!r}")
        check_common(self, "attacks", images=min(BATCHES), repeats=1)
        Schedule(self.query_budget, self.rows, self.tile)
        for choice in self.attacks:
            for whole in (True, False):
                build_attack(choice, _threat(self, choice, whole))


class Case(NamedTuple):
    """One timed attack: its name, its threat, and what overhead and waste may be."""

    attack: Choice
    threat: Threat
    regime: str
    overhead_limit: float
    waste_limit: float

    def other_regime(self, result: Result) -> float:
        """Share of images that left early where most should use the whole budget, and the other way round."""
        early = float((result.queries < self.threat.query_budget).mean())
        return early if self.regime == "whole budget" else 1 - early


def plan(config: Config) -> Plan:
    """Rows of the attacks when none falls, the bare forward passes beside them, and two small runs of `moments`."""
    rows = 2 * len(config.attacks) * config.repeats * config.images * config.query_budget
    return Plan(rows, rows / 800 + 60, 1500)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Time every case, each run between two measurements of the bare rate, then the memory of `moments`."""
    images = _images(config)
    model = _random_network(config.model, config.seed, images)
    labels = np.asarray(jax.jit(_scores, static_argnums=0)(model.scores, model.params, images).argmax(-1))
    cases, ratios, batch = list(_cases(config)), [], best_batch(model, images)
    for i, case in enumerate(cases):
        context.advance("timed attacks", i, len(cases))
        ratios += _time(config, case, model, images, labels, batch)
    context.advance("timed attacks", len(cases), len(cases))
    ratios += _own_costs(context)
    ratios += dispatch_ratios(config.seed)
    ratios.append(("moments, peak memory at 100,000 samples / at 1,000", _memory_ratio(context), 1.2))
    name, value, limit = (list(column) for column in zip(*ratios, strict=True))
    facts = {"bare_images_per_second": bare_rate(model, images, batch)}
    return xr.Dataset({"value": ("ratio", value), "limit": ("ratio", limit)}, {"ratio": name}), facts


def _cases(config: Config) -> Iterator[Case]:
    for choice in config.attacks:
        whole = OVERHEAD_LIMITS.get(choice.name, 1.15)
        for regime, *limits in (("whole budget", whole, 0.03), ("early success", 1.4, 0.20)):
            yield Case(choice, _threat(config, choice, regime == "whole budget"), regime, *limits)


def _threat(config: Config, choice: Choice, whole: bool) -> Threat:
    """A ball too small or so large that most images fall early; decision attacks minimise to use the whole budget."""
    method = choice.row
    norm = method.norms[0]
    if method.feedback == "label":
        return Threat(norm, float("inf") if whole else EASY_DISTANCE[norm], config.query_budget)
    return Threat(norm, config.hard_epsilon if whole else config.easy_epsilon, config.query_budget)


def _own_costs(context: Context) -> list[tuple[str, float, float]]:
    """Milliseconds of a step of 64 rows around a victim that costs nearly nothing, per limit of 1 ms or less."""
    costs = []
    for i, (name, limit) in enumerate(OWN_COST_LIMITS.items()):
        context.advance("own cost", i, len(OWN_COST_LIMITS))
        costs.append((f"{name}: own milliseconds a step, 64 rows", own_milliseconds(read_attack(name)), limit))
    context.advance("own cost", len(costs), len(costs))
    return costs


def _random_network(name: str, seed: int, images: np.ndarray) -> Model:
    """CIFAR-size network with random weights: what it answers is noise, what it costs is real.

    The bias of its head centres the scores over the pictures; without that one class would win everywhere.
    """
    architecture = ARCHITECTURES[name]
    params = initial(architecture, SHAPE, 10, seed)
    built = network_classifier(name, architecture, params, SHAPE, 10, NORMALIZATIONS["cifar10"])
    head = params[HEADS[name]] | {"bias": -jax.jit(built.logits)(params, images).mean(0)}
    return undefended(built._replace(params=params | {HEADS[name]: head}))


def _images(config: Config) -> np.ndarray:
    """Smooth random pictures: bilinear enlargements of 4 × 4 random colours."""
    coarse = jax.random.uniform(jax.random.key(config.seed), (config.images, 4, 4, 3))
    return np.asarray(jnp.clip(jax.image.resize(coarse, (config.images, *SHAPE), "linear"), 0, 1))


def _time(config: Config, case: Case, model: Model, images, labels, batch: int) -> list[tuple[str, float, float]]:
    attack = build_attack(case.attack, case.threat)
    oracle = oracle_of(model, attack.feedback)
    schedule, key = Schedule(config.query_budget, config.rows, config.tile), jax.random.key(config.seed)
    compile_run(attack, oracle, queue_of(jax.random.key(0), images, labels, np.arange(len(images)), images), schedule)
    overheads, before = [], bare_rate(model, images, batch)
    for _ in range(config.repeats):
        result = run_attack(key, attack, oracle, images, labels, np.arange(len(images)), schedule)
        after = bare_rate(model, images, batch)
        overheads.append(result.seconds * (before + after) / 2 / result.evaluated)
        before = after
    name = f"{case.attack}, {case.regime}"
    return [
        (f"{name}: wall time / (rows needed / bare rate)", float(np.median(overheads)), case.overhead_limit),
        (f"{name}: rows wasted / rows forwarded", result.padded / (result.evaluated + result.padded), case.waste_limit),
        (f"{name}: images of the other regime / images", case.other_regime(result), 0.5),
    ]


def best_batch(model: Model, images: np.ndarray) -> int:
    """The one of BATCHES at which the network alone is fastest."""
    return max((batch for batch in BATCHES if batch <= len(images)), key=lambda batch: bare_rate(model, images, batch))


def bare_rate(model: Model, images: np.ndarray, batch: int) -> float:
    """Images/s of the network alone in a compiled loop over the images, so many at a time."""
    tiles, rows = len(images) // batch, jnp.asarray(images)
    loop = partial(_forward_all, model.scores, batch)
    jax.block_until_ready(loop(model.params, rows))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        jax.block_until_ready(loop(model.params, rows))
        seconds.append(time.perf_counter() - started)
    return tiles * batch / float(np.median(seconds))


@partial(jax.jit, static_argnums=(0, 1))
def _forward_all(scores, batch, params, images):
    def forward(i, total):
        return total + _scores(scores, params, jax.lax.dynamic_slice_in_dim(images, i * batch, batch)).sum()

    return jax.lax.fori_loop(0, len(images) // batch, forward, 0.0)


def _scores(scores, params, images):
    """Of a model without randomness."""
    return scores(params, jax.random.split(jax.random.key(0), len(images)), images)


def _memory_ratio(context: Context) -> float:
    peaks = []
    for i, samples in enumerate((1_000, 100_000)):
        context.advance("memory of moments", i, 2)
        with tempfile.TemporaryDirectory() as out:
            options = [
                "--instances",
                "quadratic",
                "--dimension",
                "3072",
                "--smoothing-radii",
                "0.1",
                "--deviations",
                "0.5",
            ]
            command = ["moments", *options, "--samples", str(samples), "--out", out, "--json"]
            run = subprocess.run(
                [sys.executable, "-c", MEASURE_MEMORY, *command], capture_output=True, text=True, check=True
            )
        peaks.append(int(run.stderr.split()[-1]))
    context.advance("memory of moments", 2, 2)
    return peaks[1] / peaks[0]


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per ratio, with its limit."""
    rows = [
        {"name": str(name), "value": float(value), "limit": float(limit), "ok": bool(value <= limit)}
        for name, value, limit in zip(data.ratio.values, data.value.values, data.limit.values, strict=True)
    ]
    rate = manifest["bare_images_per_second"]
    return {"ratios": rows, "bare_images_per_second": rate, "ok": all(row["ok"] for row in rows)}


EXPERIMENT = Experiment(
    Config,
    plan,
    run,
    report,
    threats=lambda config: [case.threat for case in _cases(config)],
    choices=lambda config: attack_choices(*OWN_COST_LIMITS),
)
