"""What pools are trained on which data, and how."""

from typing import NamedTuple

from defenses.purifiers.implicit.members import Member, members
from defenses.purifiers.implicit.training import Recipe

LIGHT = ("light", "light-wide", "light-deep")
MEMBERS = 16


class Plan(NamedTuple):
    """A pool: what its members undo, their encoders, and their recipe."""

    attacks: tuple[str, ...]
    sizes: tuple[str, ...]
    recipe: Recipe

    def members(self, seed: int) -> tuple[Member, ...]:
        """All of them, in the order of the pool."""
        return members(self.attacks, self.sizes, MEMBERS, seed)


def plan_for(dataset: str) -> Plan:
    """The pool for that data set: radii as they are usual there, patches of a quarter of an image's side."""
    if dataset == "digits":
        recipe = Recipe(epsilon=38.25, images=1024, epochs=4, batch_size=32, patch_size=4, learning_rate=5e-3)
        return Plan(("pgd", "fgsm", "bim"), ("tiny",), recipe)
    recipe = Recipe(epsilon=8 if dataset == "cifar10" else 76.5, images=6000, epochs=8, batch_size=64, patch_size=8)
    return Plan(("pgd", "square", "fgsm", "nes", "bim"), LIGHT, recipe)
