"""The record of a query attack: ask and tell, written for one image.

The engine batches, counts, stops and refills; an attack only says which images it wants answered next and what it
makes of the answers. Its state is any NamedTuple of arrays with two fields the engine reads: `image`, the current
adversarial candidate (always in the box and in the ball), and `success`, whether that very candidate fooled the
victim when it was queried.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, Key

from sims.oracle import Answer


class Queries(NamedTuple):
    """Images one step wants answered.

    images: (width, h, w, c) float32 in [0, 1].
    needed: (width,) bool; rows that are False are neither evaluated nor counted. None needed: the attack gives up.
    """

    images: Float[Array, "width h w c"]
    needed: Bool[Array, " width"]


class Attack(NamedTuple):
    """An attack on one image; `width` is static.

    init: (key, image (h, w, c) float32 in [0, 1], label () int32) -> state; makes no query.
    ask: (key, state) -> Queries; the key is fresh at every step.
    tell: (state, queries, answers (width,)) -> state; gets its queries back, so nothing is stored or redrawn.
    width: the most rows one step may ask for.
    feedback: the oracle it needs, "scores", "loss" or "label".
    """

    name: str
    feedback: str
    width: int
    init: Callable[[Key[Array, ""], Float[Array, "h w c"], Int[Array, ""]], Any]
    ask: Callable[[Key[Array, ""], Any], Queries]
    tell: Callable[[Any, Queries, Answer], Any]
