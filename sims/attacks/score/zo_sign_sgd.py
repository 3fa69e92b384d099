"""ZO-signSGD: steps by the sign of a forward-difference estimate, whatever the norm (Liu et al. 2019)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from sims.attacks.attack import Attack, Threat
from sims.attacks.estimators.estimator import forward_shared
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction, descent, per_pixel


@dataclass(frozen=True)
class ZOSignSGD:
    """Settings of ZO-signSGD."""

    smoothing_radius: float = 0.001
    """μ, pixel units."""
    num_directions: int = 20
    """Directions per step, q; 15 to 30 in public toolkits."""
    step_fraction: float = 0.2
    """Length of a step in units of epsilon, in (0, 1] (ℓ∞: every pixel; ℓ2: the image)."""


def zo_sign_sgd(threat: Threat, settings: ZOSignSGD) -> Attack:
    """Descend by signs and project; ValueError for a setting outside its range."""
    check_step_fraction(settings.step_fraction)
    estimator = forward_shared(settings.smoothing_radius, settings.num_directions, "sphere")
    signs = optax.stateless(lambda updates, params: jax.tree.map(jnp.sign, updates))
    rule = optax.chain(signs, per_pixel(threat.norm, settings.step_fraction * threat.epsilon))
    return descent(f"zo-sign-sgd-{threat.norm}", threat, estimator, rule)


METHOD = Method(
    ZOSignSGD,
    zo_sign_sgd,
    "loss",
    ("linf", "l2"),
    "num_directions + 1",
    "Liu et al. 2019, ICLR (openreview BJe-DsC5Fm); directions as in public toolkits, the rest chosen here",
)
