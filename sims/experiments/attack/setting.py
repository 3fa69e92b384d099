"""What a run of `attack` is about: its configuration, and its victim with goals and starts."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import tyro
from jaxtyping import Int

from defenses.model import Model
from defenses.purifiers.table import DefenseOptions, defense_choices
from sims.attacks.attack import Threat
from sims.attacks.table import AttackOptions, attack_choices, build_attack
from sims.engine.run import Schedule, check_stopping
from sims.engine.stopping import FIRST_SUCCESS, StoppingOption
from sims.experiments.cells.hashes import pictures_hash
from sims.experiments.experiment import Context, check_common
from sims.victims.service import Service, service_model
from sims.victims.starts import starting_images
from sims.victims.victim import Victim, VictimOptions, load_victim, victim_names

SHOWN = 5  # images whose pixels the joined record has


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
        check_common(self, "defenses", "attacks", images=1, draws=2, evaluations=1)
        self.schedule  # noqa: B018  raises
        if self.service:
            Service(self.service)
        for choice in self.attacks:
            check_stopping(build_attack(choice, self.threat), self.stopping)

    @property
    def schedule(self) -> Schedule:
        """How every attack is run; ValueError where it cannot be."""
        return Schedule(self.threat.query_budget, self.rows, self.tile, stopping=self.stopping)

    def evaluations_of(self, model: Model) -> int:
        """Fresh draws of the model on every final image: one where all would be the same."""
        return self.evaluations if model.randomized else 1

    @property
    def victims(self) -> tuple[str, ...]:
        """What is attacked: every model behind every defence, and the service by its address."""
        return victim_names(self.victim, self.defenses) + ((self.service,) if self.service else ())


class Setting(NamedTuple):
    """What all cells of a run share.

    goals: (n,) labels, or the targets of a targeted run. starts: (n,) the place of the image that each may start from.
    pictures: a hash of the images, labels, goals and starts. shown: (k,) the places of a few images, the first of every
    label.
    """

    config: Config
    victim: Victim
    goals: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " n"]
    pictures: str
    shown: Int[np.ndarray, " k"]

    def part(self, rows: slice) -> "Setting":
        """The same for these images alone; their starts are given by their places among all of them."""
        return self._replace(victim=self.victim.part(rows), goals=self.goals[rows], starts=self.starts[rows])


def setting(config: Config, context: Context) -> Setting:
    """The victim with its images; every image has another one of them as its start, whose class is its target."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    if config.service:
        service = {config.service: service_model(config.service, victim.network.num_classes)}
        chosen = {**victim.chosen, config.service: (config.service,)}
        victim = victim._replace(models=victim.models | service, chosen=chosen)
    alone = not config.threat.targeted and len(np.unique(victim.labels)) < 2  # no image of another class to start from
    other = np.arange(config.images) if alone else starting_images(victim.labels, victim.ids, config.seed)
    goals = victim.labels[other] if config.threat.targeted else victim.labels
    shown = np.unique(victim.labels, return_index=True)[1][:SHOWN]
    return Setting(config, victim, goals, other, pictures_hash(victim, goals, other), shown)
