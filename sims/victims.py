"""Victims by name: a trained classifier behind a defence, and held-out images it gets right."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from defenses import zoo
from defenses.classifiers.classifier import Classifier
from defenses.data import digits
from defenses.defense import Defense


class Victim(NamedTuple):
    """A classifier, its defences by name, and the held-out images (n, h, w, c) it classifies correctly undefended.

    ids: (n,) their index in the held-out set.
    """

    classifier: Classifier
    defenses: dict[str, Defense]
    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def load_victim(model: str, defenses: tuple[str, ...], images: int, models: Path, seed: int) -> Victim:
    """The digits victim; ValueError names an unknown model or defence, or more images than there are."""
    for name in defenses:
        if name not in zoo.DEFENSES:
            raise ValueError(f"defense must be one of {', '.join(zoo.DEFENSES)}, got {name!r}")
    classifier = zoo.classifier(model, "digits", seed, models)
    built = {name: zoo.defense(name, "digits", seed, models) for name in defenses}
    if classifier.image_shape != digits.IMAGE_SHAPE:
        raise ValueError(
            f"model must take images of shape {digits.IMAGE_SHAPE}, {model} takes {classifier.image_shape}"
        )
    held_out = digits.load().test
    scores = jax.jit(classifier.logits)(classifier.params, jnp.asarray(held_out.images))
    ids = np.flatnonzero(np.asarray(scores.argmax(-1)) == held_out.labels)
    if not 1 <= images <= len(ids):
        raise ValueError(f"images must be in [1, {len(ids)}], the held-out images {model} gets right, got {images}")
    ids = ids[:images]
    return Victim(classifier, built, held_out.images[ids], held_out.labels[ids], ids)
