"""RGF: steps along forward differences in directions on a sphere (Nesterov & Spokoiny 2017; Cheng et al. 2019).

The baseline of a step's differences is the check of its candidate, so q directions cost q + 1 queries.
"""

from dataclasses import dataclass

from sims.attacks.attack import Attack, Threat
from sims.attacks.estimators.estimator import forward_shared
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction, descent, steepest


@dataclass(frozen=True)
class RGF:
    """Settings of RGF."""

    smoothing_radius: float = 0.0001
    """μ, pixel units, for directions of length √d; 0.0001 as published, 0.001 there against random victims."""
    num_directions: int = 50
    """Directions per step, q."""
    step_fraction: float = 0.1
    """Length of a step in units of epsilon, in (0, 1] (ℓ∞: every pixel; ℓ2: the image)."""


def rgf(threat: Threat, settings: RGF) -> Attack:
    """Descend the forward estimate; ValueError for a setting outside its range."""
    check_step_fraction(settings.step_fraction)
    estimator = forward_shared(settings.smoothing_radius, settings.num_directions, "sphere")
    rule = steepest(threat.norm, settings.step_fraction * threat.epsilon)
    return descent(f"rgf-{threat.norm}", threat, estimator, rule)


METHOD = Method(
    RGF,
    rgf,
    "loss",
    ("linf", "l2"),
    "num_directions + 1",
    "Cheng et al. 2019, arXiv 1906.06919 (the method without a transferred prior), defaults as in its code",
)
