"""SPSA: Adam along an antithetic estimate with random signs (Spall 1992; as an attack, Uesato et al. 2018)."""

from dataclasses import dataclass

import optax

from sims.attacks.attack import Attack, Threat
from sims.attacks.estimators.estimator import antithetic
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction, descent, per_pixel


@dataclass(frozen=True)
class SPSA:
    """Settings of SPSA."""

    smoothing_radius: float = 0.01
    """δ of the paper, pixel units; 0.01 as published."""
    num_directions: int = 10
    """Antithetic pairs per step; 128 and more as published, for budgets of 10,000s of queries."""
    step_fraction: float = 0.3
    """Adam's learning rate in units of epsilon, in (0, 1] (ℓ∞: every pixel; ℓ2: the image); published as 0.01, which
    is 0.3 of 8/255."""


def spsa(threat: Threat, settings: SPSA) -> Attack:
    """Adam on the projected image; ValueError for a setting outside its range."""
    check_step_fraction(settings.step_fraction)
    estimator = antithetic(settings.smoothing_radius, settings.num_directions, "rademacher")
    rule = optax.chain(optax.scale_by_adam(), per_pixel(threat.norm, settings.step_fraction * threat.epsilon))
    return descent(f"spsa-{threat.norm}", threat, estimator, rule)


METHOD = Method(
    SPSA,
    spsa,
    "loss",
    ("linf", "l2"),
    "2 * num_directions + 1",
    "Uesato et al. 2018, arXiv 1802.05666, after Spall 1992; radius and rate as published, directions chosen here",
)
