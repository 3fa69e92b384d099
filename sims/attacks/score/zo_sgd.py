"""ZO-SGD: projected gradient descent on a Gaussian forward-difference estimate (Ghadimi & Lan 2013)."""

from dataclasses import dataclass

import optax

from defenses.options.ranges import check_positive
from sims.attacks.attack import Attack, Threat
from sims.attacks.estimators.estimator import forward_shared
from sims.attacks.method import Method
from sims.attacks.score.descent import descent


@dataclass(frozen=True)
class ZOSGD:
    """Settings of ZO-SGD."""

    smoothing_radius: float = 0.001
    """μ, pixel units."""
    num_directions: int = 20
    """Directions per step, q."""
    learning_rate: float = 0.0001
    """γ, pixel units² per unit of the loss, > 0: the image moves by γ times the estimate, however long that is."""


def zo_sgd(threat: Threat, settings: ZOSGD) -> Attack:
    """Descend the forward estimate at its own length; ValueError for a setting outside its range."""
    check_positive(settings, "learning_rate")
    estimator = forward_shared(settings.smoothing_radius, settings.num_directions)
    return descent(f"zo-sgd-{threat.norm}", threat, estimator, optax.sgd(settings.learning_rate))


METHOD = Method(
    ZOSGD,
    zo_sgd,
    "loss",
    ("linf", "l2"),
    "num_directions + 1",
    "Ghadimi & Lan 2013, arXiv 1309.5549; defaults chosen here",
)
