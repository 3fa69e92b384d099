"""Robust accuracy against attackers who see gradients: through a defence, around it, or blind to it.

The same images for every defence and attack. Nothing is claimed: every final image is judged by N fresh draws of the
defence that no attack has seen, and so are the clean images (the null attack of every table).
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
import xarray as xr

from defenses import zoo
from sims.attacks.attack import Threat
from sims.attacks.ball import Norm, lengths
from sims.attacks.table import build_attack
from sims.engine.run import Schedule
from sims.engine.stopping import check_votes
from sims.experiments.experiment import Context, Experiment, Plan, check_different, check_seed
from sims.experiments.white_box.recheck import rechecker
from sims.experiments.white_box.report import COLUMNS, report
from sims.measurements.fresh_draws import times_predicted
from sims.ranges import check_counts
from sims.victims.oracle import label_oracle
from sims.victims.victim import Victim, VictimOptions, load_victim, seconds_per_row, victim_inputs
from sims.white_box.cost import judgements, passes
from sims.white_box.restarts import AttackPlan, with_restarts
from sims.white_box.table import build_white_box, is_white_box, members

ATTACK_STREAM, EVALUATION_STREAM = 1, 2


@dataclass(frozen=True)
class Config:
    """White-box attacks on defended images, each final image judged by fresh draws of the defence."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: tuple[str, ...] = ("none", "average-purifier", "random-purifier", "patchwise-purifier")
    attacks: tuple[str, ...] = ("fgsm", "pgd:eot=10", "apgd-ce:eot=10", "pgd:route=around,eot=10", "pgd:route=blind")
    """White-box attacks as `python -m sims white-box-attacks` lists them, `ensemble`, or query attacks that see losses.
    Settings follow a colon: pgd:steps=50,route=around,eot=10,restarts=5."""
    images: int = 200
    """Held-out images that the undefended classifier gets right."""
    norm: Norm = "linf"
    """Norm of the distance: linf or l2."""
    epsilon: float = 0.15
    """Radius of the ball, pixel units, > 0 and finite."""
    query_budget: int = 5000
    """Rows that a query attack may ask for, for one image."""
    evaluations: int = 20
    """N: fresh draws of a random defence on every final image, for the average, the worst of N and the majority."""
    rows: int = 64
    """Rows in flight."""
    tile: int = 16
    """Rows per forward and backward pass; results are bit for bit equal on a CPU for one tile size."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_counts(self, images=1, evaluations=1)
        check_seed(self.seed)
        check_different(self, "defenses", "attacks")
        for name in self.defenses:
            zoo.check_defense(name)
        Schedule(self.query_budget, self.rows, self.tile)
        for member in (member for text in self.attacks for member in members(text)):
            self._check_attack(member)

    def _check_attack(self, text: str) -> None:
        if is_white_box(text):
            build_white_box(text, self.threat)
            return
        if build_attack(text, self.threat).feedback != "loss":
            raise ValueError(f"attacks must see gradients or losses here, {text} sees labels")
        check_votes(self.evaluations)

    @property
    def threat(self) -> Threat:
        """What the attackers may do."""
        return Threat(self.norm, self.epsilon, self.query_budget)


def plan(config: Config) -> Plan:
    """Forward passes when every defence is random and no image falls, a gradient counted as three."""
    each = sum(passes(text, config.query_budget) for text in config.attacks)
    rows = len(config.defenses) * config.images * (each + config.evaluations * judgements(config.attacks))
    pixels = np.prod(zoo.SOURCES[config.victim.dataset].image_shape)
    megabytes = 600 + 4 * (len(config.defenses) * len(config.attacks) + 8) * config.images * int(pixels) / 1e6
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), megabytes)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Attack every defence with every attack, and judge the final images and the clean ones."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    outcomes = [[_attacked(config, context, victim, name, text) for text in config.attacks] for name in config.defenses]
    flat = [one for row in outcomes for one in row]
    facts = {"queries": sum(one.evaluated for one in flat), "waste": sum(one.padded for one in flat)}
    return _dataset(config, victim, outcomes), facts


def _attacked(config: Config, context: Context, victim: Victim, name: str, text: str):
    task = f"{text} on {name}"
    folder = Path(context.checkpoints) / f"{text}-{name}".replace("/", "_")

    plan = AttackPlan(
        config.threat, config.evaluations, config.rows, config.tile, folder, partial(context.advance, task)
    )
    key = jax.random.fold_in(jax.random.key(config.seed), ATTACK_STREAM)
    return with_restarts(key, text, plan, victim, victim.defenses[name])


def _dataset(config: Config, victim: Victim, outcomes: list[list[Any]]) -> xr.Dataset:
    dims, pixels = ("defense", "attack", "image"), ("height", "width", "channel")
    images = np.array([[one.images for one in row] for row in outcomes])
    defenses = [victim.defenses[name] for name in config.defenses]
    draws = [config.evaluations if defense.randomized else 1 for defense in defenses]
    clean = [judged(config, victim, name, victim.images, n) for name, n in zip(config.defenses, draws, strict=True)]
    votes = [
        [judged(config, victim, name, one.images, n) for one in row]
        for name, row, n in zip(config.defenses, outcomes, draws, strict=True)
    ]
    distance = [[lengths(config.norm, one.astype(np.float64) - victim.images) for one in row] for row in images]
    data = {
        "predicted": ((*dims, "class"), np.array(votes), {"long_name": "fresh draws that predict the class"}),
        "predicted_clean": (("defense", "image", "class"), np.array(clean)),
        "queries": (dims, [[one.queries for one in row] for row in outcomes], {"units": "rows"}),
        "non_finite": (
            dims,
            [[one.non_finite for one in row] for row in outcomes],
            {"long_name": "a run stopped there"},
        ),
        "distance": (dims, np.array(distance), {"units": "pixel units"}),
        "evaluations": ("defense", draws),
        "adversarial": ((*dims, *pixels), images, {"units": "pixel units"}),
        "clean": (("image", *pixels), victim.images, {"units": "pixel units"}),
        "label": ("image", victim.labels),
        "randomized": ("defense", [defense.randomized for defense in defenses]),
    }
    coordinates = {"defense": list(config.defenses), "attack": list(config.attacks), "image": victim.ids}
    return xr.Dataset(data, coordinates)


def judged(config: Any, victim: Victim, name: str, images: np.ndarray, draws: int) -> np.ndarray:
    """(n, classes) predictions of fresh draws; the draws of a defence are the same for every attack, paired.

    config: of an experiment, with its seed and tile.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), EVALUATION_STREAM)
    oracle = label_oracle(victim.classifier, victim.defenses[name])
    return times_predicted(key, oracle, images, draws, config.tile)


EXPERIMENT = Experiment(
    Config, plan, run, report, victim_inputs, COLUMNS, rechecker("white-box", Config, judged, report)
)
