"""What a run of `attack` is about: its configuration, its victim with goals and starts, and what attacks see of it."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np
import tyro

from defenses import zoo
from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, parse_attack
from sims.engine.checkpoint import fingerprint
from sims.engine.run import Schedule, check_stopping
from sims.experiments.experiment import Context, check_different, check_seed
from sims.measurements.fresh_draws import times_fooled, times_fooled_on_host
from sims.ranges import check_counts
from sims.victims.host import HostOracle
from sims.victims.oracle import Oracle, averaged, label_oracle, loss_oracle
from sims.victims.service import Service, service_victim
from sims.victims.starts import starting_images
from sims.victims.victim import Victim, VictimOptions, load_victim

ORACLES = {"loss": loss_oracle, "label": label_oracle}
EVALUATION_STREAM = 4


@dataclass(frozen=True)
class Config:
    """Query attacks on defended images, each image judged again by fresh draws of the defence."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: tuple[str, ...] = ("average-purifier", "random-purifier", "patchwise-purifier")
    """Defences; the first is the reference of the slow-down."""
    service: str = ""
    """Address of one more victim, which answers over HTTP (the protocol is in sims/victims/service.py)."""
    attacks: tuple[str, ...] = ("nes", "square", "null")
    """Attacks as `python -m sims attacks` lists them; settings follow a colon: nes:smoothing_radius=0.1,average=4."""
    images: int = 200
    """Held-out images that the undefended classifier gets right."""
    threat: tyro.conf.OmitArgPrefixes[Threat] = field(default_factory=Threat)
    stopping: str = "first-success"
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
        for name in self.defenses:
            zoo.check_defense(name)
        if len({parse_attack(text) for text in self.attacks}) < len(self.attacks):
            raise ValueError(f"attacks must be different, got {self.attacks}")
        schedule(self)
        if self.service:
            Service(self.service)
        for text in self.attacks:
            attack = build_attack(text, self.threat)
            check_stopping(attack, self.stopping)
            width = attack.width * parse_attack(text).average
            if width > 1 and self.threat.query_budget <= width:
                raise ValueError(f"query_budget must be > {width}, one step of {text}, got {self.threat.query_budget}")

    @property
    def victims(self) -> tuple[str, ...]:
        """What is attacked: the defences, and the service by its address."""
        return (*self.defenses, self.service) if self.service else self.defenses


class Setting(NamedTuple):
    """What all attacks of a run share: the victim, the goals (labels or targets), and the starting points.

    judges: by defence, the oracle that the fresh draws ask, one for all attacks so that it is compiled once.
    """

    victim: Victim
    goals: np.ndarray
    starts: np.ndarray
    judges: dict[str, Oracle]


def schedule(config: Config) -> Schedule:
    """The engine's layout for that configuration."""
    return Schedule(config.threat.query_budget, config.rows, config.tile, stopping=config.stopping)


def setting(config: Config, context: Context) -> Setting:
    """The victim with its images; every image has another one of them as its start, whose class is its target."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    targeted, defenses = config.threat.targeted, victim.defenses.items()
    judges = {name: loss_oracle(victim.classifier, defense, targeted=targeted) for name, defense in defenses}
    if not targeted and len(np.unique(victim.labels)) < 2:
        return Setting(victim, victim.labels, victim.images, judges)
    other = starting_images(victim.labels, victim.ids, config.seed)
    goals = victim.labels[other] if targeted else victim.labels
    return Setting(victim, goals, victim.images[other], judges)


def oracle_of(config: Config, victim: Victim, name: str, text: str) -> Oracle | HostOracle:
    """What that attack sees of the victim of that name, averaged as it asks for."""
    feedback, average = build_attack(text, config.threat).feedback, parse_attack(text).average
    if name == config.service:
        return _service_oracle(config, victim, text, feedback, average)
    oracle = ORACLES[feedback](victim.classifier, victim.defenses[name], targeted=config.threat.targeted)
    return averaged(oracle, average) if average > 1 else oracle


def _service_oracle(config: Config, victim: Victim, text: str, feedback: str, repeats: int) -> HostOracle:
    """The service, asked under names that no other attack has, and no run of another configuration, seed included."""
    post, run = service_victim(Service(config.service)), fingerprint(str(config), text)
    classes, targeted = victim.classifier.num_classes, config.threat.targeted
    return HostOracle(config.service, feedback, post, classes, targeted, repeats=repeats, run=run)


def fresh_draws(config: Config, shared: Setting, name: str, text: str, images: np.ndarray) -> np.ndarray:
    """(n,) in how many of the evaluations (one, where the defence is deterministic) each image fools the victim.

    text: the attack that ended at these images. The draws of a defence are the same for every attack, paired; those of
    a service are not.
    """
    victim, draws = shared.victim, evaluations(config, shared.victim, name)
    if name == config.service:
        oracle = _service_oracle(config, victim, text, "label", 1)
        return times_fooled_on_host(oracle, images, shared.goals, draws, config.rows)
    key = jax.random.fold_in(jax.random.key(config.seed), EVALUATION_STREAM)
    return times_fooled(key, shared.judges[name], images, shared.goals, draws, config.tile)


def randomized(config: Config, victim: Victim, name: str) -> bool:
    """Whether the victim may answer differently when asked again; nobody knows that of a service."""
    return name == config.service or victim.defenses[name].randomized


def evaluations(config: Config, victim: Victim, name: str) -> int:
    """Fresh draws on every final image."""
    return config.evaluations if randomized(config, victim, name) else 1
