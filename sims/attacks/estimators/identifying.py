"""The gradient estimate of an attacker that tells the members of a pool apart by their answers (statement P4)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sims.attacks.estimators.estimator import GradientEstimator, antithetic

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
    plain = antithetic(smoothing_radius, num_directions, directions)

    def points(x, u):
        return jnp.concatenate([jnp.broadcast_to(x, (repeats, *x.shape)), plain.points(x, u)])

    def combine(points, values):
        levels, (up, down) = values[:repeats], values[repeats:].reshape(2, -1)
        kept = matched(levels, up, down)
        silent = jnp.concatenate([jnp.where(kept, up, down), down])  # a pair that is left out shows no slope
        return plain.combine(points[repeats:], silent) * len(kept) / jnp.maximum(kept.sum(), 1)

    asked = repeats + plain.queries_per_estimate
    return GradientEstimator("identifying", plain.directions, points, combine, asked, "")


def matched(levels: Float[Array, " repeats"], up: Float[Array, " q"], down: Float[Array, " q"]) -> Bool[Array, " q"]:
    """Which pairs of answers are those of one and the same member, by the levels."""
    levels_of = jnp.stack([nearest(levels, answers) for answers in (up, down)])
    distances = jnp.abs(jnp.stack([up, down]) - levels_of)
    near = distances <= FAR * jnp.quantile(distances, 0.25)
    return near.all(axis=0) & (jnp.abs(levels_of[0] - levels_of[1]) <= SAME * (levels.max() - levels.min()))


def nearest(levels: Float[Array, " repeats"], answers: Float[Array, " n"]) -> Float[Array, " n"]:
    """The level that each answer is nearest to."""
    return levels[jnp.argmin(jnp.abs(levels - answers[:, None]), axis=1)]
