"""SignHunter: the signs of the gradient by divide and conquer (Al-Dujaili & O'Reilly 2020), ℓ∞ and ℓ2.

Every candidate is a corner of the ball: the clean image moved by ±ε at every pixel (ℓ2: ±ε/√d), kept when the loss
fell. The first has all signs +; then one query flips the signs of all pixels, one each of either half, of every
quarter, down to single pixels: at most 2^(⌈log₂ d⌉ + 1) queries a pass, after which the next pass begins with the
signs found. Against a random victim the incumbent keeps the loss it was accepted with; the adaptive variant queries
the incumbent again beside every candidate.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.ball import check_ball, project
from sims.attacks.method import Method


@dataclass(frozen=True)
class SignHunter:
    """Settings of SignHunter."""

    reevaluate: bool = False
    """Query the incumbent again beside every candidate."""


class SignHunterState(NamedTuple):
    """clean, image: (h, w, c), image the incumbent; value: () its loss, +inf before the first answer.

    up: (h, w, c) bool, the incumbent's signs. level, chunk: () the next flip is of this chunk of 2^level; level is −1
    before the first answer, when nothing is flipped.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]
    up: Bool[Array, "h w c"]
    level: Int[Array, ""]
    chunk: Int[Array, ""]


def sign_hunter(threat: Threat, settings: SignHunter) -> Attack:
    """Flip ever smaller chunks of signs, in the order of the pixels in memory; ValueError for a bad radius."""
    check_ball(threat.epsilon)
    width = 2 if settings.reevaluate else 1

    def init(key, image, start):
        unknown, up = jnp.array(jnp.inf, jnp.float32), jnp.ones(image.shape, bool)
        return SignHunterState(image, image, jnp.array(False), unknown, up, jnp.int32(-1), jnp.int32(0))

    def ask(key, state):
        height = threat.epsilon if threat.norm == "linf" else threat.epsilon / math.sqrt(state.image.size)
        corner = state.clean + jnp.where(_flipped(state), height, -height)
        candidate = project(threat.norm, corner, state.clean, threat.epsilon)
        if not settings.reevaluate:
            return Queries(candidate[None], jnp.array([True]))
        return Queries(jnp.stack([candidate, state.image]), jnp.array([True, False]) | (state.level >= 0))

    def tell(state, queries, answers):
        incumbent = state.value
        if settings.reevaluate:
            incumbent = jnp.where(state.level < 0, jnp.inf, answers.value[-1])
        better = (answers.value[0] < incumbent) | answers.fooled[0]
        image = jnp.where(better, queries.images[0], state.image)
        value = jnp.where(better, answers.value[0], incumbent)
        up = jnp.where(better, _flipped(state), state.up)
        return SignHunterState(state.clean, image, answers.fooled[0], value, up, *_next_chunk(state))

    return Attack(f"sign-hunter-{threat.norm}", "loss", width, init, ask, tell)


METHOD = Method(
    SignHunter,
    sign_hunter,
    "loss",
    ("linf", "l2"),
    "1 + reevaluate",
    "Al-Dujaili & O'Reilly 2020, arXiv 1902.08722; a further pass stays around the clean image, chosen here",
)


def _length(state: SignHunterState) -> Int[Array, ""]:
    """Pixels of a chunk at the present level, ⌈d / 2^level⌉."""
    pieces = jnp.left_shift(1, jnp.maximum(state.level, 0))
    return -(-state.up.size // pieces)


def _flipped(state: SignHunterState) -> Bool[Array, "h w c"]:
    """The signs of the next candidate."""
    length = jnp.where(state.level < 0, 0, _length(state))
    beyond = jnp.arange(state.up.size).reshape(state.up.shape) - state.chunk * length
    return state.up ^ ((beyond >= 0) & (beyond < length))


def _next_chunk(state: SignHunterState) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Level and chunk after these: the next chunk, the next level after the last, level 0 after the last level."""
    last = (state.level < 0) | ((state.chunk + 1) * _length(state) >= state.up.size)
    levels = (state.up.size - 1).bit_length() + 1
    level = jnp.where(last, (state.level + 1) % levels, state.level)
    return level, jnp.where(last, 0, state.chunk + 1)
