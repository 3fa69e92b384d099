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

FEWEST_ROWS, NUMBERS_PER_BATCH = 64, 2**18


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
    """Local geometry of the defended loss from at least `draws` >= 2 draws of the defence per image.

    Draws come in equal batches of a size set by the image; two serve a defence that has no draw. The gradient is the
    mean over the same draws; the standard error of V comes from the fourth central moment.
    Raises ValueError for fewer draws.
    """
    if draws < 2:
        raise ValueError(f"draws must be >= 2, got {draws}")
    draws = draws if defense.randomized else 2
    batches = -(-draws // max(FEWEST_ROWS, NUMBERS_PER_BATCH // images[0].size))
    scores = victim_scores(classifier, defense)
    params = (defense.params, classifier.params)

    def total(image, params, keys, label):
        rows = jnp.broadcast_to(image, (len(keys), *image.shape))
        losses = loss(scores(params, keys, rows), jnp.broadcast_to(label, (len(keys),)))
        return losses.mean(), losses

    batch = jax.jit(jax.grad(total, has_aux=True))

    def one(key, image, label):
        parts = jax.random.split(key, (batches, -(-draws // batches)))
        gradients, losses = zip(*(batch(image, params, keys, label) for keys in parts), strict=True)
        return np.concatenate(losses).astype(np.float64), np.mean(gradients, axis=0)

    rows = zip(jnp.asarray(images), jnp.asarray(labels), strict=True)
    measured = [one(jax.random.fold_in(key, i), image, label) for i, (image, label) in enumerate(rows)]
    mean, variance, error, spread = np.array([_statistics(losses) for losses, _ in measured]).T
    return LocalGeometry(mean, variance, error, spread, np.stack([gradient for _, gradient in measured]))


def _statistics(losses: Float[np.ndarray, " draws"]) -> tuple[float, float, float, float]:
    """Mean, unbiased variance, its standard error, and range."""
    centred = losses - losses.mean()
    variance = float((centred**2).sum() / (len(losses) - 1))
    error = np.sqrt(max((centred**4).mean() - variance**2, 0.0) / len(losses))
    return float(losses.mean()), variance, float(error), float(np.ptp(losses))
