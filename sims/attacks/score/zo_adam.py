"""ZO-AdaMM: an adaptive momentum method on forward differences (Chen et al. 2019), ℓ∞.

The paper projects in the metric √v̂ of its steps; on a ball and a box that bound every pixel alone this is the same
clipping as in any other metric, which is why the attack is ℓ∞ only.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sims.attacks.attack import Attack, Threat
from sims.attacks.estimators.estimator import forward_shared
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction, descent, per_pixel


@dataclass(frozen=True)
class ZOAdam:
    """Settings of ZO-AdaMM."""

    smoothing_radius: float = 0.001
    """μ, pixel units."""
    num_directions: int = 10
    """Directions per step, q."""
    step_fraction: float = 0.2
    """α, the length of a step in units of epsilon, in (0, 1]."""
    momentum: float = 0.9
    """β₁, in [0, 1)."""
    second_momentum: float = 0.3
    """β₂, in [0, 1)."""


class Moments(NamedTuple):
    """mean: m; square: v; largest: v̂, the largest v so far; each of the image's shape."""

    mean: optax.Updates
    square: optax.Updates
    largest: optax.Updates


def adaptive_momentum(momentum: float, second_momentum: float) -> optax.GradientTransformation:
    """m/√v̂ with m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², v̂ ← max(v̂, v), from m = 0 and v = v̂ = 1e-7."""

    def init(params):
        small = jax.tree.map(lambda p: jnp.full_like(p, 1e-7), params)
        return Moments(optax.tree_utils.tree_zeros_like(params), small, small)

    def update(updates, state, params=None):
        mean = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, state.mean, updates)
        square = jax.tree.map(lambda v, g: second_momentum * v + (1 - second_momentum) * g**2, state.square, updates)
        largest = jax.tree.map(jnp.maximum, state.largest, square)
        return jax.tree.map(lambda m, v: m / jnp.sqrt(v), mean, largest), Moments(mean, square, largest)

    return optax.GradientTransformation(init, update)


def zo_adam(threat: Threat, settings: ZOAdam) -> Attack:
    """Descend with adaptive momentum and clip; ValueError for a setting outside its range."""
    check_step_fraction(settings.step_fraction)
    for name in ("momentum", "second_momentum"):
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name} must be in [0, 1), got {getattr(settings, name)}")
    estimator = forward_shared(settings.smoothing_radius, settings.num_directions, "sphere")
    rule = adaptive_momentum(settings.momentum, settings.second_momentum)
    step = per_pixel(threat.norm, settings.step_fraction * threat.epsilon)
    return descent(f"zo-adam-{threat.norm}", threat, estimator, optax.chain(rule, step))


METHOD = Method(
    ZOAdam,
    zo_adam,
    "loss",
    ("linf",),
    "num_directions + 1",
    "Chen et al. 2019 (ZO-AdaMM), arXiv 1910.06513; directions and momenta as in its code, the rest chosen here",
)
