"""A classifier trained by a recipe, once: its weights on disk with their card."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.classifier import Classifier
from defenses.classifiers.learning import learning
from defenses.classifiers.network import Network
from defenses.data.dataset import Dataset, Split
from defenses.data.normalization import NORMALIZATIONS
from defenses.evaluation import accuracy
from defenses.model import undefended
from defenses.training.adversarial import Adversary, adversary, ascent
from defenses.training.recipe import Recipe, trainable_split
from defenses.weights.cached import Identity, Weights
from defenses.weights.trained import trained

ROBUST_IMAGES, ROBUST_STEPS = 1000, 20
BATCH = 100


def network_for(model: str, dataset: Dataset) -> Network:
    """The architecture of that name for the data set's images and classes; ValueError where they don't fit."""
    network = Network(
        model, ARCHITECTURES[model], dataset.image_shape, len(dataset.classes), NORMALIZATIONS[dataset.name]
    )
    network.template()
    return network


def identity_of(network: Network, recipe: Recipe, dataset: Dataset, seed: int) -> Identity:
    """Of the weights of that recipe and seed."""
    return Identity(network.name, dataset.name, seed, asdict(recipe))


def trained_classifier(network: Network, recipe: Recipe, dataset: Dataset, seed: int, cache: Path) -> Weights:
    """The weights of that recipe and seed: read from `cache`, or trained, measured and stored there.

    The card reports the accuracy on the test images with its standard error, under matmul precision `highest`; of
    adversarial training also the `robust_accuracy` under PGD with 20 steps; and the normalisation. Raises as
    `trainable_split` and `trained` do.
    """
    trainable_split(recipe, dataset)  # before anything is written

    def measure(params: PyTree) -> Mapping[str, Any]:
        with jax.default_matmul_precision("highest"):
            measured = _measured(network.classifier(params), recipe.adversary, dataset.test, seed)
        return measured | {"normalization": network.normalization._asdict()}

    identity = identity_of(network, recipe, dataset, seed)
    return trained(identity, cache, network.template(), lambda: learning(network, recipe, dataset, seed), measure)


def _measured(classifier: Classifier, trained_on: Adversary | None, test: Split, seed: int) -> dict[str, Any]:
    measured = accuracy(undefended(classifier), test, seed)._asdict()
    if trained_on is None:
        return measured
    return measured | {"robust": robust_accuracy(classifier, adversary(trained_on.epsilon, ROBUST_STEPS), test, seed)}


def robust_accuracy(classifier: Classifier, attack: Adversary, test: Split, seed: int) -> dict[str, Any]:
    """Accuracy on 1000 random test images, or all, perturbed by `attack`: an upper bound of the true one.

    They are drawn without replacement, by `seed`; the answer holds their number as `images`, that of all test images
    as `drawn_from`, and the binomial standard error √(p(1 − p)/images). Batch i draws from `fold_in(key(seed), i)`.
    """
    available = len(test.labels)
    images = min(ROBUST_IMAGES, available)
    drawn = np.sort(np.random.default_rng(seed).choice(available, images, replace=False))

    climber = ascent(classifier.logits, attack)

    @jax.jit
    def correct(params, images, labels):
        return (classifier.logits(params, images).argmax(-1) == labels).sum()

    right = 0
    for number, start in enumerate(range(0, images, BATCH)):
        rows = drawn[start : start + BATCH]
        key = jax.random.fold_in(jax.random.key(seed), number)
        batch, labels = jax.device_put((test.images[rows], test.labels[rows]))
        moved = climber.perturbed(classifier.params, key, batch, labels)
        right += int(correct(classifier.params, moved, labels))
    share = right / images
    return asdict(attack) | {
        "images": images,
        "drawn_from": available,
        "accuracy": share,
        "standard_error": math.sqrt(share * (1 - share) / images),
    }
