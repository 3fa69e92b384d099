"""SimBA: one step forth or back along one vector of an orthonormal basis at a time (Guo et al. 2019).

The first query is the clean image, whose loss is the first to beat. Then every query moves the incumbent by one step
along the next vector of a random order: forth, and back if that did not lower the loss. The published attack has no
ball, only a step: epsilon = inf; in a finite one candidates are projected. Its loss is the class's probability, here
the margin, whose sign tells success. Against a random victim the incumbent keeps the loss it was accepted with; the
adaptive variant queries the incumbent again beside every candidate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.ball import project
from sims.attacks.method import Method
from sims.attacks.score.random_order import place_in, random_order

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class SimBA:
    """Settings of SimBA."""

    step: float = 0.2
    """Length of a step, pixel units, > 0; 0.2 as published. In an ℓ∞ ball below it a step sets a pixel to ±epsilon."""
    reevaluate: bool = False
    """Query the incumbent again beside every candidate."""


class Basis(NamedTuple):
    """Orthonormal images.

    size: (shape) -> how many there are. vector: (index () int32, shape) -> (h, w, c).
    """

    size: Callable[[Shape], int]
    vector: Callable[[Int[Array, ""], Shape], Float[Array, "h w c"]]


class SimBAState(NamedTuple):
    """clean, image: (h, w, c), image the incumbent; value: () its loss, +inf before the first answer.

    order: the random order of the basis. turn: () vectors done with. sign: () float32, along the present vector the
    next candidate goes forth (1) or back (−1); 0 before the first answer.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]
    order: UInt32[Array, "2 rounds"]
    turn: Int[Array, ""]
    sign: Float[Array, ""]


def simba(threat: Threat, settings: SimBA) -> Attack:
    """SimBA along single pixels, in random order; ValueError for a step outside its range."""
    return along(f"simba-{threat.norm}", threat, PIXELS, settings.step, settings.reevaluate)


def along(name: str, threat: Threat, basis: Basis, step: float, reevaluate: bool) -> Attack:
    """SimBA along any basis; after its last vector the random order begins again.

    Raises ValueError for a step outside its range.
    """
    if not 0 < step < float("inf"):
        raise ValueError(f"step must be > 0 and finite, got {step}")
    width = 2 if reevaluate else 1

    def init(key, image, start):
        unknown, nothing = jnp.array(jnp.inf, jnp.float32), jnp.array(0, jnp.int32)
        sign = jnp.array(0, jnp.float32)
        return SimBAState(image, image, jnp.array(False), unknown, random_order(key), nothing, sign)

    def ask(key, state):
        index = place_in(state.order, state.turn, basis.size(state.image.shape))
        moved = state.image + state.sign * step * basis.vector(index, state.image.shape)
        candidate = project(threat.norm, moved, state.clean, threat.epsilon)
        if not reevaluate:
            return Queries(candidate[None], jnp.array([True]))
        return Queries(jnp.stack([candidate, state.image]), jnp.array([True, False]) | (state.sign != 0))

    def tell(state, queries, answers):
        first = state.sign == 0
        incumbent = jnp.where(first, jnp.inf, answers.value[-1]) if reevaluate else state.value
        better = (answers.value[0] < incumbent) | answers.fooled[0]
        image = jnp.where(better, queries.images[0], state.image)
        value = jnp.where(better, answers.value[0], incumbent)
        back = ~better & (state.sign > 0)
        turn = jnp.where(first | back, state.turn, state.turn + 1)
        sign = jnp.where(back, -1.0, 1.0).astype(jnp.float32)
        return SimBAState(state.clean, image, answers.fooled[0], value, state.order, turn, sign)

    return Attack(name, "loss", width, init, ask, tell)


def _pixel(index, shape):
    h, w, c = shape
    return (jnp.arange(h * w * c) == index).astype(jnp.float32).reshape(shape)


PIXELS = Basis(lambda shape: shape[0] * shape[1] * shape[2], _pixel)

METHOD = Method(
    SimBA,
    simba,
    "loss",
    ("linf", "l2"),
    "1 + reevaluate",
    "Guo et al. 2019, arXiv 1905.07121; step as published",
)
