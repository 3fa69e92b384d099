"""Tiny victims that compile in a moment."""

import jax
import jax.numpy as jnp
import numpy as np

from defenses.classifiers.classifier import Classifier
from defenses.defense import Defense

SHAPE = (6, 6, 1)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.8, size=(count, *SHAPE)).astype(np.float32)


def linear_classifier(classes: int = 4) -> Classifier:
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(36, classes)), jnp.float32)
    return Classifier(
        "linear", weights, lambda w, x: jnp.tanh(x.reshape(len(x), -1) @ w / 6), SHAPE, classes, smooth=True
    )


def labels_of(classifier: Classifier, rows: np.ndarray) -> np.ndarray:
    return np.asarray(classifier.logits(classifier.params, jnp.asarray(rows)).argmax(-1))


def no_defense() -> Defense:
    return Defense("none", (), lambda params, keys, x: x, False)


def noise(sigma: float) -> Defense:
    def apply(params, keys, x):
        return x + sigma * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)

    return Defense("noise", (), apply, True)


def patchwise(shift: float) -> Defense:
    """Every 3 × 3 patch is brightened or darkened by a coin of its own."""

    def apply(params, keys, x):
        coins = jax.vmap(lambda key: jax.random.rademacher(key, (2, 2), jnp.float32))(keys)
        return x + shift * jnp.repeat(jnp.repeat(coins, 3, axis=1), 3, axis=2)[..., None]

    return Defense("patchwise", (), apply, True)
