"""The null attack: resubmit the clean image and wait for luck.

A random victim errs on clean images now and then, so a first-success rule is beaten by patience alone; every table
of a randomised victim carries this row (THEORY §10.5).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sims.attacks.attack import Attack, Queries


class NullState(NamedTuple):
    """image: (h, w, c), never changed; success: () bool."""

    image: Float[Array, "h w c"]
    success: Bool[Array, ""]


def null() -> Attack:
    """One query of the clean image per step."""

    def init(key, image, label):
        return NullState(image, jnp.array(False))

    def ask(key, state):
        return Queries(state.image[None], jnp.array([True]))

    def tell(state, queries, answers):
        return state._replace(success=answers.fooled[0])

    return Attack("null", "loss", 1, init, ask, tell)
