"""Accuracy of a model on clean images."""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from defenses.data.dataset import Images, Split
from defenses.data.inputs import as_labels, check_image_axes
from defenses.model import Model, bare
from defenses.training.progress import watched

LARGEST_BATCH, SMALLEST_BATCH, NUMBERS_PER_BATCH = 128, 16, 2**21  # images, and numbers of all of them


class Accuracy(NamedTuple):
    """Share of correct rows among `images`, with the binomial standard error √(p(1 − p)/images).

    images_per_second: rate of the forward passes alone, without decoding and compilation.
    """

    images: int
    accuracy: float
    standard_error: float
    images_per_second: float


def accuracy(model: Model, split: Split, seed: int) -> Accuracy:
    """Measure the model; each image is queried once.

    Image i has the key `fold_in(key(seed), i)`. Raises ValueError when the images do not
    have the shape that the model takes, the labels are not one class an image, and when a score is not finite.
    """
    labels = as_labels(split.labels, len(split.images))
    predicted, seconds = predictions(model, split.images, seed)
    share, images = float(np.mean(predicted == labels)), len(split.images)
    return Accuracy(images, share, math.sqrt(share * (1 - share) / images), images / seconds)


def predictions(model: Model, images: Images, seed: int) -> tuple[np.ndarray, float]:
    """Classes (n,) int of the images, and the seconds of the forward passes; keys and errors as above."""
    check_image_axes(images.shape)
    if model.image_shape not in (None, images.shape[1:]):
        raise ValueError(
            f"dataset must hold images of shape {model.image_shape} for {bare(model).name}, got {images.shape[1:]}"
        )
    most = max(SMALLEST_BATCH, min(LARGEST_BATCH, NUMBERS_PER_BATCH // math.prod(images.shape[1:])))
    size = min(most, len(images))
    ask, key = model.scores, jax.random.key(seed)

    @jax.jit
    def predict(params, numbers, rows):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
        scores = ask(params, keys, rows)
        return scores.argmax(-1), jnp.isfinite(scores).all()

    shapes = jax.ShapeDtypeStruct((size,), np.int32), jax.ShapeDtypeStruct((size, *images.shape[1:]), np.float32)
    compiled = predict.lower(model.params, *shapes).compile()
    predicted, seconds = [], 0.0
    for start in watched(range(0, len(images), size), "evaluating"):
        numbers = np.minimum(np.arange(start, start + size), len(images) - 1)  # the last batch repeats its last image
        rows = jnp.asarray(images[numbers])
        started = time.perf_counter()
        classes, finite = compiled(model.params, jnp.asarray(numbers, jnp.int32), rows)
        predicted.append(np.asarray(classes))
        seconds += time.perf_counter() - started
        if not finite:
            raise ValueError(f"{bare(model).name} must give finite scores, not so for images {start}..{numbers[-1]}")
    return np.concatenate(predicted)[: len(images)], seconds
