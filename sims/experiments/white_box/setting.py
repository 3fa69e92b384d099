"""What a run of `white-box` is about: its configuration."""

from dataclasses import dataclass, field

import tyro

from defenses.options.names import Choice, NumberOption
from defenses.purifiers.table import DefenseOptions, defense_choices
from sims.attacks.attack import Threat
from sims.attacks.ball import Norm
from sims.attacks.table import build_attack
from sims.engine.run import Schedule
from sims.engine.stopping import check_votes
from sims.experiments.experiment import check_common
from sims.victims.victim import VictimOptions
from sims.white_box.table import WhiteBoxOptions, build_white_box, is_white_box, members, white_box_choices


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
