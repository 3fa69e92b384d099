"""Perturbations that purifiers learn to undo, each of amplitude one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from defenses.classifiers.classifier import Classifier

Perturbation = Callable[
    [Key[Array, ""], Classifier, Float[Array, "n h w c"], Int[Array, " n"]], Float[Array, "n h w c"]
]


def gaussian(key, victim, images, labels):
    """Standard normal noise."""
    return jax.random.normal(key, images.shape, images.dtype)


def uniform(key, victim, images, labels):
    """Noise uniform on [−1, 1]."""
    return jax.random.uniform(key, images.shape, images.dtype, -1, 1)


def signs(key, victim, images, labels):
    """A vertex of the cube {−1, 1}ᵈ, uniform."""
    return jax.random.rademacher(key, images.shape, images.dtype)


def fast_gradient_sign(key, victim, images, labels):
    """The sign of the gradient of the victim's cross-entropy.

    Source: Goodfellow et al., Explaining and Harnessing Adversarial Examples (2015).
    """

    def loss(images):
        scores = victim.logits(victim.params, images)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).sum()

    return jnp.sign(jax.grad(loss)(images))


PERTURBATIONS: dict[str, Perturbation] = {
    "gaussian": gaussian,
    "uniform": uniform,
    "signs": signs,
    "fast-gradient-sign": fast_gradient_sign,
}
