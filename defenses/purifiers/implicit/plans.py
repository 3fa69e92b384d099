"""What pools are trained on which data, and how."""

from typing import NamedTuple

import numpy as np

from defenses.data.dataset import Dataset, Split, training_images
from defenses.purifiers.implicit.members import Member, members
from defenses.purifiers.implicit.training import Recipe

LIGHT = ("light", "light-wide", "light-deep")
MEMBERS = 16


class Plan(NamedTuple):
    """A pool: the ℓ∞ radius it is meant for, in units of 1/255; what its members undo, their encoders, their recipe."""

    threat: float
    attacks: tuple[str, ...]
    sizes: tuple[str, ...]
    recipe: Recipe

    def members(self, seed: int) -> tuple[Member, ...]:
        """All of them, in the order of the pool."""
        return members(self.attacks, self.sizes, MEMBERS, seed)


def taught_on(plan: Plan, dataset: Dataset) -> Split:
    """The training images that are attacked; ValueError where the data set has none."""
    images, labels = training_images(dataset)
    rows = np.arange(plan.recipe.images)
    return Split(images[rows], labels[rows])


def plan_for(dataset: str) -> Plan:
    """The pool for that data set: radii as they are usual there, patches of a quarter or half of an image's side.

    Members learn from attacks of twice the radius: not settled yet, README.md in the folder above says what was seen.
    """
    if dataset == "digits":
        recipe = Recipe(76.5, images=1024, epochs=4, batch_size=32, patch_size=4, learning_rate=1e-2, average=0.9)
        return Plan(38.25, ("pgd", "fgsm", "bim"), ("tiny",), recipe)
    threat = 8.0 if dataset == "cifar10" else 76.5
    recipe = Recipe(2 * threat, images=6000, epochs=12, batch_size=16, patch_size=8, learning_rate=3e-3)
    return Plan(threat, ("pgd", "square", "fgsm", "nes", "bim"), LIGHT, recipe)
