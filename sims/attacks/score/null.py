"""The null attack: resubmit the clean image and wait for luck.

A random victim errs on clean images now and then, so a first-success rule is beaten by patience alone; every table
of a randomised victim carries this row.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.method import Method


@dataclass(frozen=True)
class Null:
    """It has no settings."""


class NullState(NamedTuple):
    """image: (h, w, c), never changed; success: () bool; value: () the loss of the last answer."""

    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]


def null(threat: Threat, settings: Null) -> Attack:
    """One query of the clean image per step."""

    def init(key, image, start):
        return NullState(image, jnp.array(False), jnp.array(jnp.inf))

    def ask(key, state):
        return Queries(state.image[None], jnp.array([True]))

    def tell(state, queries, answers):
        return NullState(state.image, answers.fooled[0], answers.value[0])

    return Attack("null", "loss", 1, init, ask, tell)


METHOD = Method(Null, null, "loss", ("linf", "l2"), "1", "the control of every table of a random victim")
