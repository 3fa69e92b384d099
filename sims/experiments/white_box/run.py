"""Robust accuracy against attackers who see gradients: through a defence, around it, or blind to it.

The same images for every defence and attack. Nothing is claimed: every final image is judged by N fresh draws of the
defence that no attack has seen, and so are the clean images (the null attack of every table).
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
import tyro
import xarray as xr

from defenses.data.sources import image_shape
from defenses.options.names import Choice, NumberOption
from defenses.purifiers.table import DefenseOptions, defense_choices
from sims.attacks.attack import Threat
from sims.attacks.ball import Norm, lengths
from sims.attacks.table import build_attack
from sims.engine.run import Schedule
from sims.engine.stopping import check_votes
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.experiments.white_box.recheck import rechecker
from sims.experiments.white_box.report import COLUMNS, report
from sims.measurements.fresh_draws import times_predicted
from sims.victims.memory import network_megabytes
from sims.victims.oracle import oracle_of
from sims.victims.victim import Victim, VictimOptions, load_victim, seconds_per_row, victim_inputs, victim_names
from sims.white_box.cost import judgements, passes
from sims.white_box.restarts import AttackPlan, Outcome, with_restarts
from sims.white_box.table import WhiteBoxOptions, build_white_box, is_white_box, members, white_box_choices

ATTACK_STREAM, EVALUATION_STREAM = 1, 2


@dataclass(frozen=True)
class Config:
    """White-box attacks on defended images, each final image judged by fresh draws of the defence."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: DefenseOptions = defense_choices("none", "average-purifier", "random-purifier", "patchwise-purifier")
    attacks: WhiteBoxOptions = white_box_choices(
        "fgsm", "pgd:eot=10", "apgd-ce:eot=10", "pgd:route=around,eot=10", "pgd:route=blind"
    )
    """White-box attacks as `python -m sims white-box-attacks` lists them, `ensemble`, or query attacks that see losses.
    Settings follow a colon: pgd:steps=50,route=around,eot=10,restarts=5."""
    images: int = 200
    """Held-out images that the undefended classifier gets right."""
    norm: Norm = "linf"
    """Norm of the distance: linf or l2."""
    epsilon: NumberOption = 0.15
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
        check_common(self, "defenses", "attacks", images=1, evaluations=1)
        Schedule(self.query_budget, self.rows, self.tile)
        for member in (member for choice in self.attacks for member in members(choice)):
            self._check_attack(member)

    def _check_attack(self, choice: Choice) -> None:
        if is_white_box(choice):
            build_white_box(choice, self.threat)
            return
        if build_attack(choice, self.threat).feedback != "loss":
            raise ValueError(f"attacks must see gradients or losses here, {choice} sees labels")
        check_votes(self.evaluations)

    @property
    def threat(self) -> Threat:
        """What the attackers may do."""
        return Threat(self.norm, self.epsilon, self.query_budget)


def plan(config: Config) -> Plan:
    """Forward passes when every defence is random and no image falls, a gradient counted as three."""
    each = sum(passes(choice, config.query_budget) for choice in config.attacks)
    victims = len(victim_names(config.victim, config.defenses))
    rows = victims * config.images * (each + config.evaluations * judgements(config.attacks))
    pixels = np.prod(image_shape(config.victim.dataset))
    images = (victims * len(config.attacks) + 8) * config.images + 4 * config.tile
    network = network_megabytes(config.victim, config.tile, config.tile)
    megabytes = 600 + 4 * images * int(pixels) / 1e6 + network
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), megabytes)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Attack every defence with every attack, and judge the final images and the clean ones."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    outcomes = [[_attacked(config, context, victim, name, one) for one in config.attacks] for name in victim.models]
    flat = [one for row in outcomes for one in row]
    facts = {"queries": sum(one.evaluated for one in flat), "waste": sum(one.padded for one in flat)}
    return _dataset(config, victim, outcomes), facts


def _attacked(config: Config, context: Context, victim: Victim, name: str, choice: Choice) -> Outcome:
    task, folder = f"{choice} on {name}", context.state_of(str(choice), name)
    plan = AttackPlan(
        config.threat, config.evaluations, config.rows, config.tile, folder, partial(context.advance, task)
    )
    key = jax.random.fold_in(jax.random.key(config.seed), ATTACK_STREAM)
    return with_restarts(key, choice, plan, victim, victim.models[name])


def _dataset(config: Config, victim: Victim, outcomes: list[list[Any]]) -> xr.Dataset:
    dims, pixels = ("defense", "attack", "image"), ("height", "width", "channel")
    images = np.array([[one.images for one in row] for row in outcomes])
    models = victim.models
    draws = [config.evaluations if model.randomized else 1 for model in models.values()]
    clean = [judged(config, victim, name, victim.images, n) for name, n in zip(models, draws, strict=True)]
    votes = [
        [judged(config, victim, name, one.images, n) for one in row]
        for name, row, n in zip(models, outcomes, draws, strict=True)
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
        "randomized": ("defense", [model.randomized for model in models.values()]),
    }
    coordinates = {"defense": list(models), "attack": list(map(str, config.attacks)), "image": victim.ids}
    return xr.Dataset(data, coordinates)


def judged(config: Any, victim: Victim, name: str, images: np.ndarray, draws: int) -> np.ndarray:
    """(n, classes) predictions of fresh draws; the draws of a defence are the same for every attack, paired.

    config: of an experiment, with its seed and tile.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), EVALUATION_STREAM)
    oracle = oracle_of(victim.models[name], "label")
    return times_predicted(key, oracle, images, draws, config.tile)


EXPERIMENT = Experiment(
    Config,
    plan,
    run,
    report,
    victim_inputs,
    COLUMNS,
    rechecker("white-box", Config, judged, report),
    lambda config: [config.threat],
)
