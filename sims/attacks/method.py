"""The record of a published attack: one row of a table, of query attacks or of white-box attacks."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sims.attacks.attack import Attack, Threat
from sims.attacks.ball import Norm


class Method(NamedTuple):
    """A published attack.

    settings: frozen dataclass of its own settings, each with its default and docstring; raises ValueError.
    build: (threat, settings) -> Attack; ValueError for a radius it cannot use.
    feedback: "loss" (the margin of the scores) or "label"; "gradient" of a white-box attack.
    norms: the norms it has.
    queries_per_step: rows of one step in closed form, in the names of the settings.
    source: the paper, and where the defaults come from.
    loss: what the gradients of a white-box attack are of: (scores, goals (n, 2)) -> (n,), else None.
    evaluations: settings -> gradients of one run of a white-box attack from one starting point, else None.
    rivals: settings -> over how many rivals it runs, one after the other; 1 where its loss looks at none.
    """

    settings: type
    build: Callable[[Threat, Any], Attack]
    feedback: str
    norms: tuple[Norm, ...]
    queries_per_step: str
    source: str
    loss: Callable | None = None
    evaluations: Callable[[Any], int] | None = None
    rivals: Callable[[Any], int] = lambda settings: 1
