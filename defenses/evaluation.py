"""Accuracy of a defended classifier on clean images."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from defenses.classifiers.classifier import Classifier
from defenses.data.digits import Split
from defenses.defense import Defense

BATCH = 128


class Accuracy(NamedTuple):
    """Share of correct rows among `images`, with the binomial standard error √(p(1 − p)/images)."""

    images: int
    accuracy: float
    standard_error: float


def accuracy(classifier: Classifier, defense: Defense, split: Split, seed: int) -> Accuracy:
    """Measure the classifier behind the defence; each image is queried once.

    Image i has the key `fold_in(key(seed), i)`. Raises ValueError when the images do not
    have the shape that the classifier takes.
    """
    images, labels = split
    if images.shape[1:] != classifier.image_shape:
        raise ValueError(
            f"dataset must hold images of shape {classifier.image_shape} for {classifier.name}, got {images.shape[1:]}"
        )

    @jax.jit
    def predict(keys, images):
        return classifier.logits(classifier.params, defense.apply(defense.params, keys, images)).argmax(-1)

    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(len(images)))
    starts = range(0, len(images), BATCH)
    predicted = [predict(keys[s : s + BATCH], images[s : s + BATCH]) for s in starts]
    share = float(np.mean(np.concatenate(predicted) == labels))
    return Accuracy(len(images), share, math.sqrt(share * (1 - share) / len(images)))
