"""What pools are trained on which data, and how."""

from typing import NamedTuple

import numpy as np

from defenses.data.dataset import Dataset, Split, training_images
from defenses.purifiers.implicit.members import Member, members
from defenses.purifiers.implicit.training import Recipe

LIGHT = ("light", "light-wide", "light-deep")
MEMBERS = 16


class Plan(NamedTuple):
    """A pool: the ℓ∞ radius it is meant for, in units of 1/255; what its members undo, their encoders, their recipe.

    shared: the attack that every member undoes besides its own, since one that leaves it in its patches undoes what the
    others do.
    """

    threat: float
    shared: str
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
    """The pool for that data set: radii as they are usual there, patches of a quarter or half of an image's side."""
    stretch = (1.5, 2.0)
    if dataset == "digits":
        recipe = Recipe(38.25, 1024, 128, 32, patch_size=4, stretch=stretch, learning_rate=1e-2, average=0.9)
        return Plan(38.25, "pgd", ("pgd", "fgsm", "bim"), ("tiny",), recipe)
    threat = 8.0 if dataset == "cifar10" else 76.5
    recipe = Recipe(threat, 6000, 12_000, 8, patch_size=8, stretch=stretch, learning_rate=2e-3)
    return Plan(threat, "pgd", ("pgd", "square", "fgsm", "nes", "bim"), LIGHT, recipe)
