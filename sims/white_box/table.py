"""The table of white-box attacks, and attacks by name with settings: `pgd:steps=50,route=around,eot=10`.

`ensemble` is no attack of its own: it stands for the attacks of AutoAttack (Croce & Hein 2020) but FAB, one after the
other, with Square, which sees no gradient, last.
"""

from dataclasses import dataclass
from typing import Annotated

from defenses.options.names import Choice, read, several
from defenses.options.ranges import LARGEST_COUNT, check_at_most, check_counts, check_shares
from sims.attacks.attack import Attack, Threat
from sims.attacks.method import Method
from sims.attacks.table import ATTACKS, read_attack
from sims.attacks.table import Shared as QueryShared
from sims.white_box import apgd, fgsm, pgd
from sims.white_box.gradients import ROUTES

WHITE_BOX: dict[str, Method] = {
    "fgsm": fgsm.METHOD,
    "pgd": pgd.METHOD,
    "apgd-ce": apgd.CE,
    "apgd-dlr": apgd.DLR,
    "apgd-dlr-targeted": apgd.DLR_TARGETED,
}
ENSEMBLE = ("apgd-ce", "apgd-dlr-targeted")  # and then a query attack:
LAST = "square"


@dataclass(frozen=True)
class Shared:
    """What every white-box attack takes besides its own settings."""

    route: str = "through"
    """Of the gradients: through the defence, around it (BPDA), or blind to it."""
    eot: int = 1
    """Fresh draws of a random defence that every gradient is the mean of, >= 1; a deterministic one is asked once."""
    select: float = 1.0
    """Share of these draws, in (0, 1], of which the mean is taken: those nearest to being fooled (selective EOT)."""
    restarts: int = 1
    """Runs from different random starting points, from 1 to 1000."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        if self.route not in ROUTES:
            raise ValueError(f"route must be one of {', '.join(ROUTES)}, got {self.route!r}")
        check_counts(self, eot=1, restarts=1)
        check_shares(self, "select")
        check_at_most(self, restarts=1000)


@dataclass(frozen=True)
class NoSettings:
    """The ensemble has no settings of its own; its members are as in the table."""


def _no_attack(threat: Threat, settings: NoSettings) -> Attack:
    raise TypeError("the ensemble is several attacks, see `members`")


TABLE = WHITE_BOX | {
    "ensemble": Method(NoSettings, _no_attack, "gradient", ("linf", "l2"), "1", "AutoAttack without FAB")
}


def read_white_box(text: str) -> Choice:
    """A white-box attack, the ensemble, or a query attack, as `name` or `name:setting=value,...`.

    Raises ValueError as `names.read` does.
    """
    name = text.partition(":")[0]
    if name in TABLE:
        return read("attack", text, TABLE, Shared())
    return read("attack", text, {**TABLE, **ATTACKS}, QueryShared())


def white_box_choices(*texts: str) -> tuple[Choice, ...]:
    """Several of them, as a default of an option."""
    return tuple(map(read_white_box, texts))


WhiteBoxOptions = Annotated[tuple[Choice, ...], several(Choice, read_white_box, "ATTACK")]


def is_white_box(choice: Choice) -> bool:
    """Whether the attack sees gradients, as the ensemble's members do."""
    return choice.row.feedback == "gradient"


def members(choice: Choice) -> tuple[Choice, ...]:
    """The attacks that the choice stands for, in their order: itself, or those of the ensemble.

    The members of an ensemble take its shared settings; Square has none of them.
    """
    if choice.name != "ensemble":
        return (choice,)
    named = (read("attack", name, WHITE_BOX, choice.shared) for name in ENSEMBLE)
    return (*named, read_attack(LAST))


def build_white_box(choice: Choice, threat: Threat) -> Attack:
    """The attack that was chosen; its name tells it from every other, settings and threat included.

    Raises ValueError for a setting outside its range, or for more gradients of one image than 32 bits count.
    """
    attack = choice.row.build(threat, choice.settings)
    gradients = choice.row.evaluations(choice.settings) * choice.shared.eot
    if gradients > LARGEST_COUNT:
        raise ValueError(
            f"a run of {choice} must ask for <= {LARGEST_COUNT} gradients, steps times eot, got {gradients}"
        )
    return attack._replace(name=f"{choice}, {threat}")
