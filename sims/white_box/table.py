"""The table of white-box attacks, and attacks by name with settings: `pgd:steps=50,route=around,eot=10`.

`ensemble` is no attack of its own: it stands for the attacks of AutoAttack (Croce & Hein 2020) but FAB, one after the
other, with Square, which sees no gradient, last.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from sims.attacks.attack import Attack, Threat
from sims.attacks.names import parse, spelled
from sims.ranges import check_counts
from sims.white_box import apgd, fgsm, pgd
from sims.white_box.gradients import ROUTES
from sims.white_box.method import WhiteBox

WHITE_BOX: dict[str, WhiteBox] = {
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
    restarts: int = 1
    """Runs from different random starting points, >= 1."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        if self.route not in ROUTES:
            raise ValueError(f"route must be one of {', '.join(ROUTES)}, got {self.route!r}")
        check_counts(self, eot=1, restarts=1)


@dataclass(frozen=True)
class Ensemble:
    """The ensemble has no settings of its own; its members are as in the table."""


class Choice(NamedTuple):
    """A white-box attack as it is run: its row of the table, its own settings, and the shared ones."""

    method: WhiteBox
    settings: Any
    shared: Shared


def is_white_box(text: str) -> bool:
    """Whether the text names a white-box attack or the ensemble."""
    return text.partition(":")[0] in {*WHITE_BOX, "ensemble"}


def members(text: str) -> tuple[str, ...]:
    """The attacks that the text stands for, in their order: itself, or those of the ensemble.

    The members of an ensemble take its shared settings; Square has none of them. Raises ValueError as `parse` does.
    """
    if text.partition(":")[0] != "ensemble":
        return (text,)
    _, _, shared = parse(text, {"ensemble": _Named(Ensemble)}, Shared())
    return (*(spelled(name, shared) for name in ENSEMBLE), LAST)


def parse_white_box(text: str) -> Choice:
    """`name` or `name:setting=value,...` as a choice; ValueError as `spelling.parse` raises it."""
    name, settings, shared = parse(text, WHITE_BOX, Shared())
    return Choice(WHITE_BOX[name], settings, shared)


def build_white_box(text: str, threat: Threat) -> Attack:
    """The attack of that text; its name tells it from every other, settings and threat included."""
    choice = parse_white_box(text)
    attack = choice.method.build(threat, choice.settings)
    return attack._replace(name=f"{text}, {threat}")


class _Named(NamedTuple):
    settings: type
