"""What theory asks of a victim at one image: V and the gradient of F̄, measured over fresh draws.

This looks inside the victim (gradients, repeated draws): it feeds predictions and is never open to an attack.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from defenses.data.inputs import as_images, as_labels
from defenses.model import Model
from sims.victims.losses import margin_loss
from sims.victims.oracle import Loss

FEWEST_ROWS, NUMBERS_PER_BATCH = 16, 2**18  # a batch of large images is small: gradients hold every layer of it

Images = Float[np.ndarray, "n h w c"]
Labels = Int[np.ndarray, " n"]


class LocalGeometry(NamedTuple):
    """At each image: variance V (n,) with its standard error, and the gradient ∇F̄ (n, h, w, c)."""

    variance: np.ndarray
    variance_error: np.ndarray
    gradient: np.ndarray

    @property
    def gradient_norm(self) -> Float[np.ndarray, " n"]:
        """‖∇F̄‖ at each image, nan where there is none."""
        return np.sqrt((self.gradient.reshape(len(self.gradient), -1) ** 2).sum(axis=1))


def measure(
    key: Key[Array, ""],
    model: Model,
    images: Images,
    labels: Labels,
    draws: int,
    loss: Loss = margin_loss,
    first: int = 0,
) -> LocalGeometry:
    """V and ∇F̄ of the model's loss from at least `draws` >= 2 draws per image.

    Draws come in equal batches of a size set by the image; a model that has no draw is asked twice. The gradient is
    the mean over the same draws, and nan of a model that has none. A model on the host, into which nobody can look,
    has nan throughout. first: how many images came before these, where they are measured in parts.
    Raises ValueError for fewer draws, and for images or labels of another shape.
    """
    if model.host is not None:
        unknown = np.full(len(images), np.nan)
        return LocalGeometry(unknown, unknown, np.full(images.shape, np.nan))
    losses_of, params = _losses(model, loss), model.params
    draws = draws if model.randomized or draws < 2 else 2
    if not model.has_gradient:
        value, error = loss_variance(model, loss)(key, params, images, labels, draws, first)
        return LocalGeometry(value, error, np.full(images.shape, np.nan, np.float32))

    def mean(image, params, keys, label):
        losses = losses_of(params, keys, image, label)
        return losses.mean(), losses

    batch, seen = jax.jit(jax.grad(mean, has_aux=True)), []
    for keys, image, label in _batches(key, images, labels, draws, first):
        gradients, losses = zip(*(batch(image, params, part, label) for part in keys), strict=True)
        seen.append((*_variance(np.concatenate(losses)), np.mean(gradients, axis=0)))
    return LocalGeometry(*(np.stack(column) for column in zip(*seen, strict=True)))


def loss_variance(model: Model, loss: Loss = margin_loss) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """The function (key, params of the model, images, labels, draws >= 2, first=0) -> V (n,) and its error (n,).

    Compiled once for all params; draws and errors as in `measure`.
    """
    losses_of = jax.jit(_losses(model, loss))

    def variance(key, params, images, labels, draws, first=0):
        seen = []
        for keys, image, label in _batches(key, images, labels, draws, first):
            seen.append(_variance(np.concatenate([losses_of(params, part, image, label) for part in keys])))
        values, errors = np.array(seen).T
        return values, errors

    return variance


def _losses(model: Model, loss: Loss):
    """(params, keys (k,), one image, its label) -> losses (k,)."""

    def losses(params, keys, image, label):
        rows = jnp.broadcast_to(image, (len(keys), *image.shape))
        return loss(model.scores(params, keys, rows), jnp.broadcast_to(label, (len(keys),)))

    return losses


def megabytes(draws: int) -> float:
    """Memory of so many draws of one image: all their keys are held at once, and their losses in float64."""
    return 32 * draws / 1e6


def _batches(
    key: Key[Array, ""], images: Images, labels: Labels, draws: int, first: int = 0
) -> Iterator[tuple[Array, Array, Array]]:
    """Per image: the keys of its draws (batches, size), the image, its label. Raises as `measure` does."""
    if draws < 2:
        raise ValueError(f"draws must be >= 2, got {draws}")
    images = as_images(images)
    labels = as_labels(labels, len(images))
    rows = batch_rows(images.shape[1:], draws)
    for i, (image, label) in enumerate(zip(jnp.asarray(images), jnp.asarray(labels), strict=True)):
        yield jax.random.split(jax.random.fold_in(key, first + i), (-(-draws // rows), rows)), image, label


def batch_rows(image_shape: tuple[int, ...], draws: int) -> int:
    """Draws of one image that are forwarded at once; together a few more than `draws`, in equal batches."""
    batches = -(-draws // max(FEWEST_ROWS, NUMBERS_PER_BATCH // math.prod(image_shape)))
    return -(-draws // batches)


def _variance(losses: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    """Unbiased variance in float64, and its standard error from the fourth central moment."""
    centred = losses.astype(np.float64) - losses.mean(dtype=np.float64)
    variance = (centred**2).sum() / (len(losses) - 1)
    return float(variance), float(np.sqrt(max((centred**4).mean() - variance**2, 0.0) / len(losses)))
