"""The margin of an answer, and models that show another one: the highest score is moved, the decision stays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from defenses.model import Model

Margins = Float[Array, " n"]
LEAST = 1e-4  # of a shown margin, so that the decision stays in float32


def shaped(model: Model, name: str, show: Callable[[Margins], Margins]) -> Model:
    """The model that shows the margin show(m) where its own, between the two highest scores, is m >= 0.

    show: (n,) float32 -> (n,), at least 0.
    """

    def scores(params, keys, images):
        return with_margin(model.scores(params, keys, images), show)

    return model._replace(name=name, scores=scores)


def with_margin(scores: Float[Array, "n classes"], show: Callable[[Margins], Margins]) -> Float[Array, "n classes"]:
    """The scores with the highest moved so that its margin m over the next becomes show(m), never below `LEAST`."""
    highest, second = jax.lax.top_k(scores, 2)[0].T
    top = jnp.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]
    moved = second + jnp.maximum(show(highest - second), LEAST * jnp.maximum(1, jnp.abs(second)))
    return jnp.where(top, moved[:, None], scores)
