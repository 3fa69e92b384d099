"""The gradient estimate of an attacker that tells the members of a pool apart by their answers (statement P4)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sims.attacks.estimators.estimator import GradientEstimator, checked, draw

SAME = 1e-3  # of the range of the levels: answers nearer than that to each other are of one member
FAR = 20  # times the lower quartile of all distances to the nearest level: six deviations of a Gaussian


def identifying(
    smoothing_radius: float, num_directions: int, repeats: int, directions: str = "gaussian"
) -> GradientEstimator:
    """The antithetic estimate of the pairs that one member answered, repeats + 2q queries.

    The levels are the answers to `repeats` queries of x; K·H_K of them show all K members in the mean. An answer is the
    member's whose level is nearest, and nobody's where that is far beside how near answers are as a rule. Pairs of two
    members, or of nobody, are left out; the estimate is the mean of those that remain, and zero where none does, which
    K members leave with probability (1 − 1/K)^q. Where one does, it is unbiased for the mean of the members' gradients
    and free of the defence's noise as far as every member was seen and levels are further apart than a member's loss
    changes between x and x ± μu. Raises ValueError as `antithetic` does, and for fewer than two repeats.
    """
    if repeats < 2:
        raise ValueError(f"repeats must be >= 2, got {repeats}")
    mu, q = checked(smoothing_radius, num_directions, directions)

    def points(x, u):
        return jnp.concatenate([jnp.broadcast_to(x, (repeats, *x.shape)), x + mu * u, x - mu * u])

    def combine(points, values):
        levels, up, down = values[:repeats], values[repeats : repeats + q], values[repeats + q :]
        kept = matched(levels, up, down)
        half_steps = (points[repeats : repeats + q] - points[repeats + q :]) / (2 * mu)
        slopes = jnp.where(kept, (up - down) / (2 * mu), 0)
        return jnp.tensordot(slopes, half_steps, axes=1, precision="highest") / jnp.maximum(kept.sum(), 1)

    return GradientEstimator("identifying", draw(directions, q), points, combine, repeats + 2 * q, "")


def matched(levels: Float[Array, " repeats"], up: Float[Array, " q"], down: Float[Array, " q"]) -> Bool[Array, " q"]:
    """Which pairs of answers are those of one and the same member, by the levels."""
    nearest = jnp.stack([_nearest(levels, answers) for answers in (up, down)])
    distances = jnp.abs(jnp.stack([up, down]) - nearest)
    near = distances <= FAR * jnp.quantile(distances, 0.25)
    return near.all(axis=0) & (jnp.abs(nearest[0] - nearest[1]) <= SAME * (levels.max() - levels.min()))


def _nearest(levels, answers):
    return levels[jnp.argmin(jnp.abs(levels - answers[:, None]), axis=1)]
