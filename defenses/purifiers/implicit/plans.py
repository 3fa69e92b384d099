"""What pools are trained on which data, and how."""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from defenses.data.dataset import Dataset, Split, training_images
from defenses.data.sources import image_shape
from defenses.purifiers.implicit.members import Member, members
from defenses.purifiers.implicit.training import Recipe

LIGHT = ("light", "light-wide", "light-deep")
MEMBERS = 16
SHARED = 3  # of four pairs of a member are of the attack that all undo
NES = "nes:num_directions=24,step_fraction=1"  # a step of the whole radius: small ones teach to leave images alone
STRETCH = (1.5, 2.0)  # of perturbations; README.md in the folder above says why


RADII = {"cifar10": 8.0, "mnist": 76.5, "fashion-mnist": 76.5}

PlanName = Literal["puridefense", "disco"]


class Plan(NamedTuple):
    """What is learnt for the defence of that name: its members, what they undo, with which encoders and recipe.

    threat: the ℓ∞ radius that it is meant for, in units of 1/255. shared: the attack that every member undoes besides
    its own, since one that leaves it in its patches undoes what the others do. count: how many members.
    """

    name: PlanName
    threat: float
    shared: str
    attacks: tuple[str, ...]
    sizes: tuple[str, ...]
    count: int
    recipe: Recipe

    def members(self, seed: int) -> tuple[Member, ...]:
        """All of them, in the order of the pool."""
        return members(self.attacks, self.sizes, self.count, seed)

    def undone(self, member: Member) -> list[str]:
        """The attacks that the member undoes, each as often as its pairs are seen."""
        return [self.shared] if member.attack == self.shared else [self.shared] * SHARED + [member.attack]


def taught_on(plan: Plan, dataset: Dataset) -> Split:
    """The training images that are attacked; ValueError where the data set has none."""
    images, labels = training_images(dataset)
    rows = np.arange(plan.recipe.images)
    return Split(images[rows], labels[rows])


def plan_for(name: PlanName, dataset: str) -> Plan:
    """Of that name: radii as they are usual on the data set, patches of a quarter or half of a side.

    DISCO is one member, which sees images whole and undoes PGD. Raises ValueError for a data set that has no plan.
    """
    if dataset == "digits":
        recipe = Recipe(38.25, 1024, 128, 32, patch_size=4, stretch=STRETCH, learning_rate=1e-2, average=0.9)
        if name == "disco":
            return Plan(name, 38.25, "pgd", ("pgd",), ("tiny",), 1, replace(recipe, patch_size=8))
        return Plan(name, 38.25, "pgd", ("pgd", "fgsm", "bim"), ("tiny",), MEMBERS, recipe)
    if dataset not in RADII:
        raise ValueError(f"dataset must be digits, {', '.join(RADII)} to train a pool on, got {dataset!r}")
    threat = RADII[dataset]
    if name == "disco":
        recipe = Recipe(threat, 6000, 6000, 4, image_shape(dataset)[0], stretch=STRETCH, learning_rate=5e-4)
        return Plan(name, threat, "pgd", ("pgd",), ("full",), 1, recipe)
    recipe = Recipe(threat, 6000, 12_000, 8, image_shape(dataset)[0] // 4, stretch=STRETCH, learning_rate=2e-3)
    return Plan(name, threat, "pgd", ("pgd", "square", "fgsm", NES, "bim"), LIGHT, MEMBERS, recipe)
