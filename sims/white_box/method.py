"""The record of a white-box attack: one row of its table."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sims.attacks.attack import Attack, Threat
from sims.white_box.losses import GoalLoss


class WhiteBox(NamedTuple):
    """A published white-box attack.

    settings: frozen dataclass of its own settings, each with its default and docstring.
    build: (threat, settings) -> Attack with feedback "gradient" and width 1; ValueError for settings out of range.
    loss: what its gradients are of.
    evaluations: settings -> gradients of one run from one starting point.
    source: the paper, and where the defaults come from.
    rivals: settings -> over how many rivals it runs, one after the other; 1 where its loss looks at none.
    """

    settings: type
    build: Callable[[Threat, Any], Attack]
    loss: GoalLoss
    evaluations: Callable[[Any], int]
    source: str
    rivals: Callable[[Any], int] = lambda settings: 1
