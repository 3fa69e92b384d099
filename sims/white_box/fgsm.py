"""The fast gradient sign method: one step as long as the radius, from the clean image (Goodfellow et al. 2015).

In ℓ2 the step goes along the gradient. Two evaluations: the gradient, and what it led to.
"""

from dataclasses import dataclass

from sims.attacks.attack import Attack, Threat
from sims.attacks.method import Method
from sims.white_box.losses import cross_entropy
from sims.white_box.pgd import Pgd, projected_descent


@dataclass(frozen=True)
class Fgsm:
    """FGSM has no settings."""


def fgsm(threat: Threat, settings: Fgsm) -> Attack:
    """Raises ValueError for a radius that is not finite."""
    return projected_descent(threat, Pgd(steps=1, step_fraction=1.0), False)


METHOD = Method(
    Fgsm, fgsm, "gradient", ("linf", "l2"), "1", "Goodfellow et al. (2015)", cross_entropy, lambda settings: 2
)
