"""Accuracy of a defended classifier on clean images."""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Images, Split
from defenses.defense import Defense
from defenses.progress import watched

BATCH = 128


class Accuracy(NamedTuple):
    """Share of correct rows among `images`, with the binomial standard error √(p(1 − p)/images).

    images_per_second: rate of the forward passes alone, without decoding and compilation.
    """

    images: int
    accuracy: float
    standard_error: float
    images_per_second: float


def accuracy(classifier: Classifier, defense: Defense, split: Split, seed: int) -> Accuracy:
    """Measure the classifier behind the defence; each image is queried once.

    Image i has the key `fold_in(key(seed), i)`. Raises ValueError when the images do not
    have the shape that the classifier takes, and when a score is not finite.
    """
    predicted, seconds = predictions(classifier, defense, split.images, seed)
    share, images = float(np.mean(predicted == split.labels)), len(split.images)
    return Accuracy(images, share, math.sqrt(share * (1 - share) / images), images / seconds)


def predictions(classifier: Classifier, defense: Defense, images: Images, seed: int) -> tuple[np.ndarray, float]:
    """Classes (n,) int of the defended images, and the seconds of the forward passes; keys and errors as above."""
    if images.shape[1:] != classifier.image_shape:
        raise ValueError(
            f"dataset must hold images of shape {classifier.image_shape} for {classifier.name}, got {images.shape[1:]}"
        )
    size = min(BATCH, len(images))
    apply, logits, key = defense.apply, classifier.logits, jax.random.key(seed)

    @jax.jit
    def predict(params, numbers, rows):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
        scores = logits(params[1], apply(params[0], keys, rows))
        return scores.argmax(-1), jnp.isfinite(scores).all()

    params = (defense.params, classifier.params)
    shapes = jax.ShapeDtypeStruct((size,), np.int32), jax.ShapeDtypeStruct((size, *images.shape[1:]), np.float32)
    compiled = predict.lower(params, *shapes).compile()
    predicted, seconds = [], 0.0
    for start in watched(range(0, len(images), size), "evaluating"):
        numbers = np.minimum(np.arange(start, start + size), len(images) - 1)  # the last batch repeats its last image
        rows = jnp.asarray(images[numbers])
        started = time.perf_counter()
        classes, finite = compiled(params, jnp.asarray(numbers, jnp.int32), rows)
        predicted.append(np.asarray(classes))
        seconds += time.perf_counter() - started
        if not finite:
            raise ValueError(f"{classifier.name} must give finite scores, not so for images {start}..{numbers[-1]}")
    return np.concatenate(predicted)[: len(images)], seconds
