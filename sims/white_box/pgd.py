"""Projected gradient descent on the log-likelihood of the true class, ℓ∞ and ℓ2, with momentum.

One gradient a step, and a last one that only judges: steps + 1 evaluations. Without momentum this is PGD (Madry et al.
2018); with it, the gradients are divided by their ℓ1 length and summed as in MI-FGSM (Dong et al. 2018). The best
iterate of a deterministic victim is kept, not the last.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from defenses.options.ranges import check_counts
from sims.attacks.attack import Attack, Threat
from sims.attacks.ball import check_ball, project, unit
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction
from sims.white_box.incumbent import Incumbent, begin, better, one_query, random_start, report
from sims.white_box.losses import cross_entropy


@dataclass(frozen=True)
class Pgd:
    """Settings of PGD."""

    steps: int = 20
    """Gradient steps, >= 1."""
    step_fraction: float = 0.25
    """Length of a step, as a share of epsilon: 2/255 for 8/255."""
    momentum: float = 0.0
    """Share of the last step's direction that is kept, in [0, 1]; MI-FGSM takes 1."""


class PgdState(NamedTuple):
    """clean, image: (h, w, c), image the next iterate; begun: () bool; velocity: (h, w, c)."""

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    begun: Bool[Array, ""]
    velocity: Float[Array, "h w c"]
    incumbent: Incumbent


def pgd(threat: Threat, settings: Pgd) -> Attack:
    """Raises ValueError for a setting outside its range or a radius that is not finite."""
    check_counts(settings, steps=1)
    check_step_fraction(settings.step_fraction)
    if not 0 <= settings.momentum <= 1:
        raise ValueError(f"momentum must be in [0, 1], got {settings.momentum}")
    return projected_descent(threat, settings, True)


def projected_descent(threat: Threat, settings: Pgd, from_random: bool) -> Attack:
    """The attack, from a random point of the ball or from the clean image."""
    check_ball(threat.epsilon)
    norm, epsilon, step = threat.norm, threat.epsilon, settings.step_fraction * threat.epsilon

    def init(key, image, start):
        return PgdState(image, image, jnp.array(not from_random), jnp.zeros_like(image), begin(image))

    def ask(key, state):
        first = random_start(key, norm, state.clean, epsilon)
        return one_query(jnp.where(state.begun, state.image, first))

    def tell(state, queries, answers):
        image, gradient = queries.images[0], answers.value.gradient[0]
        length = jnp.maximum(jnp.sum(jnp.abs(gradient)), jnp.finfo(jnp.float32).tiny)
        velocity = settings.momentum * state.velocity + gradient / length
        moved = project(norm, image - step * unit(norm, velocity), state.clean, epsilon)
        return PgdState(state.clean, moved, jnp.array(True), velocity, better(state.incumbent, image, answers))

    return Attack("pgd", "gradient", 1, init, ask, tell, report)


METHOD = Method(
    Pgd,
    pgd,
    "gradient",
    ("linf", "l2"),
    "1",
    "Madry et al. (2018); momentum: Dong et al. (2018); steps of a quarter of epsilon as their 2/255 for 8/255",
    cross_entropy,
    lambda settings: settings.steps + 1,
)
