"""The record of a query attack: ask and tell, written for one image.

The engine batches, counts, stops and refills; an attack only says which images it wants answered next and what it
makes of the answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Key

from defenses.options.names import NumberOption
from defenses.options.ranges import check_counts
from sims.attacks.ball import Norm
from sims.victims.oracle import Answer


@dataclass(frozen=True)
class Threat:
    """What an attacker may do, the same for every attack of a run."""

    norm: Norm = "linf"
    """Norm of the distance: linf or l2."""
    epsilon: NumberOption = 0.15
    """Radius of the ball, pixel units, > 0; inf where an attack minimises the distance or has no ball."""
    query_budget: int = 500
    """Rows the network may evaluate for one image."""
    targeted: bool = False
    """Drive every image into its target class instead of out of its own."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm must be linf or l2, got {self.norm!r}")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be > 0, got {self.epsilon}")
        check_counts(self, query_budget=1)


def covers_box(threat: Threat) -> bool:
    """Whether the ball, which has an end, holds every image of the box [0, 1] around every other: ℓ∞ above 1."""
    return threat.norm == "linf" and 1 < threat.epsilon < float("inf")


class Queries(NamedTuple):
    """Images one step wants answered.

    images: (width, h, w, c) float32 in [0, 1].
    needed: (width,) bool; rows that are False are neither evaluated nor counted. None needed: the attack gives up.
    """

    images: Float[Array, "width h w c"]
    needed: Bool[Array, " width"]


class Report(NamedTuple):
    """What an observer may know of an attack's state.

    image: (h, w, c), the adversarial candidate, in the box and in the ball.
    success: () bool, the candidate fooled the victim when it was queried. An attack that leaves at success reports it
        only in the step that queried the candidate.
    value: () float32, what the attack lowers as it knows it now: the loss of its incumbent, or the distance of the
        closest adversarial image; inf before the first.
    """

    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]


def reported(state: Any) -> Report:
    """The report of a state that has these fields itself."""
    return Report(state.image, state.success, state.value)


class Attack(NamedTuple):
    """An attack on one image; `width` is static.

    init: (key, image (h, w, c) float32 in [0, 1], start (h, w, c)) -> state; makes no query. start: an image that may
        be adversarial, for attacks that walk in from one; the clean image itself where none is known.
    ask: (key, state) -> Queries; the key is fresh at every step.
    tell: (state, queries, answers (width,)) -> state; gets its queries back, so nothing is stored or redrawn.
    width: the most rows one step may ask for.
    feedback: the oracle it needs, "scores", "loss" or "label"; "gradient" for a white-box attack.
    report: state -> Report.
    minimizes: its value is a distance, which it goes on lowering until the budget is spent.
    """

    name: str
    feedback: str
    width: int
    init: Callable[[Key[Array, ""], Float[Array, "h w c"], Float[Array, "h w c"]], Any]
    ask: Callable[[Key[Array, ""], Any], Queries]
    tell: Callable[[Any, Queries, Answer], Any]
    report: Callable[[Any], Report] = reported
    minimizes: bool = False
