"""A tiny attack that compiles in a moment, and a numpy victim with the same bits on the host and under jit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from defenses.classifiers.classifier import Classifier
from sims.attacks.attack import Attack, Queries
from tests.sims.small_victims import linear_classifier

CLASSES = 4
WEIGHTS = np.asarray(linear_classifier(CLASSES).params)


class Walk(NamedTuple):
    clean: Array
    image: Array
    success: Array
    value: Array


def walk(feedback: str = "loss", width: int = 1) -> Attack:
    """Random corners of a ball; a wide one asks for one row or for all, as the last answer was.

    The victims of these tests get every image right, and about one corner in ten wrong.
    """

    def init(key, image, start):
        return Walk(image, image, jnp.array(False), jnp.array(jnp.inf, jnp.float32))

    def ask(key, state):
        corners = jax.random.rademacher(key, (width, *state.clean.shape), jnp.float32)
        return Queries(jnp.clip(state.clean + 0.12 * corners, 0, 1), (jnp.arange(width) == 0) | (state.value > 0.2))

    def tell(state, queries, answers):
        value = answers.value.reshape(width, -1)[0, 0].astype(jnp.float32)
        return Walk(state.clean, queries.images[0], answers.fooled[0], value)

    return Attack(f"walk-{width}", feedback, width, init, ask, tell)


def scores(rows: np.ndarray) -> np.ndarray:
    """The linear victim in numpy; a row's bits do not depend on the other rows."""
    return np.tanh(np.einsum("nd,dk->nk", np.asarray(rows).reshape(len(rows), -1), WEIGHTS) / 6)


def under_jit() -> Classifier:
    """The same victim as a classifier."""

    def logits(params, rows):
        return jax.pure_callback(scores, jax.ShapeDtypeStruct((len(rows), CLASSES), jnp.float32), rows)

    return linear_classifier(CLASSES)._replace(logits=logits)
