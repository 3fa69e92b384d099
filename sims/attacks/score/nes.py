"""NES: signed or normalised steps along an antithetic Gaussian gradient estimate (Ilyas et al. 2018).

The directions come from a table of normal quantiles, which is as good for a descent and a quarter of the price: drawing
normal numbers was most of what NES cost beside its queries.
"""

from dataclasses import dataclass

from sims.attacks.attack import Attack, Threat
from sims.attacks.estimators.estimator import antithetic
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction, descent, steepest


@dataclass(frozen=True)
class NES:
    """Settings of NES."""

    smoothing_radius: float = 0.01
    """μ, pixel units; public toolkits use 2.55/255."""
    num_directions: int = 10
    """Antithetic pairs per step, q."""
    step_fraction: float = 0.2
    """Length of a step in units of epsilon, in (0, 1] (ℓ∞: every pixel; ℓ2: the image)."""


def nes(threat: Threat, settings: NES) -> Attack:
    """Descend the antithetic estimate; ValueError for a setting outside its range."""
    check_step_fraction(settings.step_fraction)
    estimator = antithetic(settings.smoothing_radius, settings.num_directions, "tabulated-gaussian")
    rule = steepest(threat.norm, settings.step_fraction * threat.epsilon)
    return descent(f"nes-{threat.norm}", threat, estimator, rule)


METHOD = Method(
    NES,
    nes,
    "loss",
    ("linf", "l2"),
    "2 * num_directions + 1",
    "Ilyas et al. 2018, arXiv 1804.08598; radius as in public toolkits, the rest chosen here",
)
