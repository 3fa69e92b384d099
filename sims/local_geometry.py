"""What theory asks of a victim at one image: the mean loss F̄, its gradient, V and Δ, measured over fresh draws.

This looks inside the victim (gradients, repeated draws): it feeds predictions and is never open to an attack.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from defenses.classifiers.classifier import Classifier
from defenses.defense import Defense
from sims.losses import margin_loss
from sims.oracle import Loss, victim_scores


class LocalGeometry(NamedTuple):
    """At each image: mean loss F̄ and variance V (n,), with V's standard error, range Δ (n,), ∇F̄ (n, h, w, c)."""

    mean: np.ndarray
    variance: np.ndarray
    variance_error: np.ndarray
    spread: np.ndarray
    gradient: np.ndarray


def measure(
    key: Key[Array, ""],
    classifier: Classifier,
    defense: Defense,
    images: Float[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    draws: int,
    loss: Loss = margin_loss,
) -> LocalGeometry:
    """Local geometry of the defended loss from `draws` >= 2 draws of the defence per image; two when it has no draw.

    The gradient is the mean over the same draws; the standard error of V comes from the fourth central moment.
    Raises ValueError for fewer draws.
    """
    if draws < 2:
        raise ValueError(f"draws must be >= 2, got {draws}")
    draws = draws if defense.randomized else 2
    scores = victim_scores(classifier, defense)
    params = (defense.params, classifier.params)

    def losses_of(image, keys, label):
        rows = jnp.broadcast_to(image, (draws, *image.shape))
        losses = loss(scores(params, keys, rows), jnp.broadcast_to(label, (draws,)))
        return losses.mean(), losses

    @jax.jit
    def one(key, image, label):
        gradient, losses = jax.grad(losses_of, has_aux=True)(image, jax.random.split(key, draws), label)
        centred = losses - losses.mean()
        variance = jnp.sum(centred**2) / (draws - 1)
        error = jnp.sqrt(jnp.maximum(jnp.mean(centred**4) - variance**2, 0) / draws)
        return losses.mean(), variance, error, losses.max() - losses.min(), gradient

    rows = zip(jnp.asarray(images), jnp.asarray(labels), strict=True)
    parts = [one(jax.random.fold_in(key, i), image, label) for i, (image, label) in enumerate(rows)]
    return LocalGeometry(*(np.stack([np.asarray(value) for value in column]) for column in zip(*parts, strict=True)))
