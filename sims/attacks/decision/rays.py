"""RayS: search the 2^d rays through the corners of the box for the nearest boundary (Chen & Gu 2020), ℓ∞.

A ray is a sign for every pixel. An attempt flips the signs of one block of the best ray: first of the whole image,
then of its halves, quarters and so on, in the order of the authors' code (channels first). One query at the best
radius tells whether the attempt is better at all; only then its radius is bisected.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from defenses.options.ranges import check_positive
from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.decision.closest import Closest, decision_attack, none_yet, remember
from sims.attacks.decision.ray_search import Bracket, Ray, along, is_narrow, may_improve, middle, narrowed
from sims.attacks.method import Method


@dataclass(frozen=True)
class Rays:
    """Settings of RayS."""

    tolerance: float = 1e-3
    """Where the bisection of a radius ends: ℓ2 length along the ray, pixel units, > 0; the authors' code."""

    def __post_init__(self) -> None:
        """Raise ValueError unless the tolerance is positive and finite."""
        check_positive(self, "tolerance")


class RaysState(NamedTuple):
    """signs: (h, w, c) the best ray, ±1. radius: () of its boundary; 1, the corners of the box, before any is found.

    bracket: of the attempt, while `bisecting`. level, block: () what the attempt flips. tried: () rays tried at the
    best radius, and the start. Before that is queried, `signs` holds the way from it to the clean image.
    """

    closest: Closest
    signs: Float[Array, "h w c"]
    radius: Float[Array, ""]
    bracket: Bracket
    bisecting: Bool[Array, ""]
    level: Int[Array, ""]
    block: Int[Array, ""]
    tried: Int[Array, ""]


def rays(threat: Threat, settings: Rays) -> Attack:
    """RayS; the first ray has the signs that lead to the start, or darkens all pixels where that is the clean image."""
    tolerance = settings.tolerance

    def init(key, image, start):
        zero, one = jnp.int32(0), jnp.float32(1)
        # flipped as a whole, as the first attempt is, this leads to the start
        signs = image - start
        return RaysState(none_yet(image), signs, one, Bracket(0 * one, one), jnp.array(False), zero, zero, zero)

    def ask(key, state):
        radius = jnp.where(state.bisecting, middle(state.bracket), state.radius)
        image = along(state.closest.clean, Ray(attempt(state), jnp.float32(1)), radius)
        return Queries(image[None], may_improve(threat, state.closest, state.tried)[None])

    def tell(state, queries, answers):
        fooled = answers.fooled[0]
        closest = remember(threat, state.closest, queries.images[0], fooled)
        opening = state.tried == 0
        halved = narrowed(state.bracket, middle(state.bracket), fooled)
        lower = jnp.where(state.bisecting, halved.lower, 0.0)
        upper = jnp.where(state.bisecting, halved.upper, state.radius)
        bracket = Bracket(lower, upper)
        better = state.bisecting & is_narrow(bracket, tolerance / math.sqrt(state.signs.size))
        bisecting = jnp.where(state.bisecting, ~better, fooled & ~opening)
        level, block = next_block(state.level, state.block, state.signs.size)
        stay = bisecting | opening
        signs = jnp.where(better, attempt(state), state.signs)
        return RaysState(
            closest,
            jnp.where(signs < 0, -1.0, 1.0),
            jnp.where(better, upper, state.radius),
            bracket,
            bisecting,
            jnp.where(stay, state.level, level),
            jnp.where(stay, state.block, block),
            state.tried + ~state.bisecting,
        )

    return decision_attack("rays", threat, init, ask, tell)


METHOD = Method(
    Rays,
    rays,
    "label",
    ("linf",),
    "1",
    "Chen & Gu 2020, arXiv 2006.12792; tolerance and order of the blocks as in the authors' code",
)


def next_block(level: Int[Array, ""], block: Int[Array, ""], size: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The block after this one: the next of its level, or the first of the level below.

    A level cuts the pixels into 2^level blocks; the last level, whose blocks are single pixels, starts again.
    """
    last = (block + 1) * block_length(level, size) >= size
    return jnp.where(last, jnp.minimum(level + 1, _levels(size)), level), jnp.where(last, 0, block + 1)


def block_length(level: Int[Array, ""], size: int) -> Int[Array, ""]:
    """Pixels of a block of that level, ⌈size / 2^level⌉."""
    return -(-size // 2**level)


def attempt(state: RaysState) -> Float[Array, "h w c"]:
    """The best ray with the signs of the present block flipped."""
    h, w, c = state.closest.clean.shape
    place = np.arange(h * w * c).reshape(c, h, w).transpose(1, 2, 0)
    length = block_length(state.level, place.size)
    inside = (place >= state.block * length) & (place < (state.block + 1) * length)
    return jnp.where(inside, -state.signs, state.signs)


def _levels(size: int) -> int:
    return math.ceil(math.log2(size))
