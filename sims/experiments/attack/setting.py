"""What a run of `attack` is about: its configuration, its victim with goals and starts, and what attacks see of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import numpy as np
import tyro
from jaxtyping import Int

from defenses.model import Model, hosted
from defenses.names import Choice
from defenses.purifiers.table import DefenseOptions, defense_choices
from defenses.ranges import check_counts
from sims.attacks.attack import Threat
from sims.attacks.table import AttackOptions, attack_choices, build_attack
from sims.engine.checkpoint import fingerprint
from sims.engine.run import Schedule, check_stopping
from sims.engine.stopping import FIRST_SUCCESS, StoppingOption
from sims.experiments.experiment import Context, check_different, check_seed
from sims.measurements.fresh_draws import times_fooled
from sims.victims.host import HostOracle, seen_by
from sims.victims.oracle import Oracle
from sims.victims.service import Service, service_victim
from sims.victims.starts import starting_images
from sims.victims.victim import Victim, VictimOptions, load_victim, victim_names

EVALUATION_STREAM = 4


@dataclass(frozen=True)
class Config:
    """Query attacks on defended images, each image judged again by fresh draws of the defence."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: DefenseOptions = defense_choices("average-purifier", "random-purifier", "patchwise-purifier")
    """Defences; of every model the first is the reference of the slow-down."""
    service: str = ""
    """Address of one more victim, which answers over HTTP (the protocol is in sims/victims/service.py)."""
    attacks: AttackOptions = attack_choices("nes", "square", "null")
    """Attacks as `python -m sims attacks` lists them; settings follow a colon: nes:smoothing_radius=0.1,average=4."""
    images: int = 200
    """Held-out images that the undefended classifier gets right."""
    threat: tyro.conf.OmitArgPrefixes[Threat] = field(default_factory=Threat)
    stopping: StoppingOption = FIRST_SUCCESS
    """When a fooled image leaves: first-success, re-evaluation, or majority:N of N more draws."""
    best_response: bool = False
    """Run every descent that has a smoothing radius once more at the radius that theory recommends (C6)."""
    evaluations: int = 10
    """Fresh draws of a random defence on every final image, for its average and worst of N."""
    rows: int = 64
    """Rows in flight."""
    tile: int = 16
    """Rows per forward pass; results are bit for bit equal on a CPU for one tile size."""
    draws: int = 1024
    """Draws of the defence behind V and ∇F̄ of each image."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_counts(self, images=1, draws=2, evaluations=1)
        check_seed(self.seed)
        check_different(self, "defenses", "attacks")
        Schedule(self.threat.query_budget, self.rows, self.tile)
        if self.service:
            Service(self.service)
        for choice in self.attacks:
            attack = build_attack(choice, self.threat)
            check_stopping(attack, self.stopping)
            width = attack.width * choice.shared.average
            if width > 1 and self.threat.query_budget <= width:
                raise ValueError(
                    f"query_budget must be > {width}, one step of {choice}, got {self.threat.query_budget}"
                )

    @property
    def victims(self) -> tuple[str, ...]:
        """What is attacked: every model behind every defence, and the service by its address."""
        return victim_names(self.victim, self.defenses) + ((self.service,) if self.service else ())


class Setting(NamedTuple):
    """What all attacks of a run share: the victim, the goals (labels or targets), and the starting points."""

    victim: Victim
    goals: Int[np.ndarray, " n"]
    starts: np.ndarray


def setting(config: Config, context: Context) -> Setting:
    """The victim with its images; every image has another one of them as its start, whose class is its target."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    if config.service:
        service = hosted(config.service, service_victim(Service(config.service)), victim.network.num_classes)
        victim = victim._replace(models=victim.models | {config.service: service})
    if not config.threat.targeted and len(np.unique(victim.labels)) < 2:
        return Setting(victim, victim.labels, victim.images)
    other = starting_images(victim.labels, victim.ids, config.seed)
    goals = victim.labels[other] if config.threat.targeted else victim.labels
    return Setting(victim, goals, victim.images[other])


def seen(config: Config, model: Model, choice: Choice) -> Oracle | HostOracle:
    """What that attack sees of the model, averaged as it asks for.

    A model on the host is asked under names that no other attack has, and no run of another configuration.
    """
    average, targeted = choice.shared.average, config.threat.targeted
    run = fingerprint(str(config), str(choice))
    return seen_by(model, choice.row.feedback, targeted=targeted, average=average, run=run)


def fresh_draws(
    config: Config, shared: Setting, model: Model, finals: Iterable[np.ndarray]
) -> Int[np.ndarray, "attacks n"]:
    """(attacks, n) in how many of its evaluations each final image of each attack fools the model.

    A jitted model judges with the losses that the attacks saw, bit for bit, and with the same draws for every attack,
    paired; one on the host judges with its labels, and every attack gets draws of its own.
    """
    key, draws = jax.random.fold_in(jax.random.key(config.seed), EVALUATION_STREAM), evaluations(config, model)
    judge = seen_by(model, "loss" if model.host is None else "label", targeted=config.threat.targeted)
    fooled = []
    for choice, images in zip(config.attacks, finals, strict=True):
        if isinstance(judge, HostOracle):
            judge = replace(judge, run=fingerprint(str(config), str(choice)))
        fooled.append(times_fooled(key, judge, images, shared.goals, draws, config.tile))
    return np.array(fooled)


def evaluations(config: Config, model: Model) -> int:
    """Fresh draws of the model on every final image."""
    return config.evaluations if model.randomized else 1
