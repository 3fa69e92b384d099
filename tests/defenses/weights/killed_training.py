"""Trains a small model of one kind into a folder, keeping its state after every round: to be killed."""

import sys
from pathlib import Path

import jax
import numpy as np

from defenses.classifiers import cnn, vit
from defenses.classifiers.architecture import Architecture
from defenses.classifiers.learning import learning
from defenses.classifiers.network import Network
from defenses.data import digits
from defenses.data.dataset import Bytes, Dataset, Split, training_images
from defenses.data.normalization import NORMALIZATIONS
from defenses.purifiers.pools import convolutional
from defenses.training import checkpoints
from defenses.training.recipe import Recipe
from defenses.training.training import Training
from defenses.weights.cached import Identity
from defenses.weights.trained import trained

DIGITS = digits.load()


def small_cnn() -> Training:
    return cnn.training(cnn.Recipe(steps=600), DIGITS, 3)


def purifiers() -> Training:
    victim = cnn.classifier(cnn.Recipe(), DIGITS, cnn.initial(cnn.Recipe(), DIGITS, 0))
    return convolutional.training(convolutional.Recipe(steps=600), DIGITS, victim, 3)


def small_vit() -> Training:
    """One head of 64 channels on 2 x 2 patches of enlarged digits, by AdamW, with a moving average."""

    def enlarged(split: Split) -> Split:
        pixels = np.round(split.images[:256] * 255).astype(np.uint8).repeat(4, 1).repeat(4, 2)
        return Split(Bytes(pixels), split.labels[:256])

    data = Dataset("digits", (32, 32, 1), DIGITS.classes, enlarged(training_images(DIGITS)), enlarged(DIGITS.test))
    architecture = Architecture(lambda *given: vit.Network(64, *given), {}, smooth=True)
    network = Network("small-vit", architecture, data.image_shape, 10, NORMALIZATIONS["digits"])
    return learning(network, Recipe(6, 32, 1e-3, 0.05, "cosine", optimizer="adamw", average=0.9), data, 3)


KINDS = {"cnn": small_cnn, "purifiers": purifiers, "vit": small_vit}


def main(kind: str, folder: str) -> None:
    checkpoints.SECONDS_BETWEEN = 0.0
    training = KINDS[kind]()
    template = jax.eval_shape(training.initial)
    trained(Identity(kind, "digits", 3, {}), Path(folder), template, lambda: training, lambda params: {})


if __name__ == "__main__":
    main(*sys.argv[1:])
