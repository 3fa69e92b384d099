"""NES that tells the members of a finite random pool apart, and only trusts pairs that one member answered.

The current point is queried again and again; deterministic members show as levels. A random choice among few members
then adds no noise to the estimate: it costs the pairs that two members answered. Source: statement P4 of this project.
"""

from dataclasses import dataclass

from sims.attacks.attack import Attack, Threat
from sims.attacks.estimators.identifying import identifying
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction, descent, steepest


@dataclass(frozen=True)
class Identify:
    """Settings of the attack."""

    smoothing_radius: float = 0.01
    """μ, pixel units; levels must be further apart than the loss changes within it."""
    num_directions: int = 40
    """Antithetic pairs per step, q."""
    repeats: int = 54
    """Queries of the current point per step, by which members are told apart, >= 2; 54 show sixteen in the mean."""
    step_fraction: float = 0.2
    """Length of a step in units of epsilon, in (0, 1] (ℓ∞: every pixel; ℓ2: the image)."""


def identify(threat: Threat, settings: Identify) -> Attack:
    """Descend the estimate of the pairs that one member answered; ValueError for a setting outside its range."""
    check_step_fraction(settings.step_fraction)
    estimator = identifying(settings.smoothing_radius, settings.num_directions, settings.repeats, "tabulated-gaussian")
    rule = steepest(threat.norm, settings.step_fraction * threat.epsilon)
    return descent(f"identify-{threat.norm}", threat, estimator, rule)


METHOD = Method(
    Identify,
    identify,
    "loss",
    ("linf", "l2"),
    "2 * num_directions + repeats + 1",
    "statement P4 of this project, after Ilyas et al. 2018",
)
