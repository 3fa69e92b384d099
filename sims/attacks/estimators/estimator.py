"""Zeroth-order gradient estimators, apart from the update rule that uses them.

All average q directions u with E u uᵀ = I and read the direction back from the queried points, so that what is
combined is exactly what was queried, rounding included.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sims.attacks.estimators.directions import DIRECTIONS


class GradientEstimator(NamedTuple):
    """A gradient estimate from function values.

    directions: (key, shape) -> (q, *shape).
    points: (x, directions) -> (queries_per_estimate, *shape), the rows to query.
    combine: (points, values (queries_per_estimate,)) -> gradient, the shape of x.
    moments: label of the statement that predicts the second moment of one Gaussian direction on a quadratic loss, ""
        where none does.
    baseline_first: the first of the points is x itself, the one baseline of all directions.
    """

    name: str
    directions: Callable[[Key[Array, ""], tuple[int, ...]], Float[Array, "q ..."]]
    points: Callable[[Float[Array, "..."], Float[Array, "q ..."]], Float[Array, "rows ..."]]
    combine: Callable[[Float[Array, "rows ..."], Float[Array, " rows"]], Float[Array, "..."]]
    queries_per_estimate: int
    moments: str
    baseline_first: bool = False


def antithetic(smoothing_radius: float, num_directions: int, directions: str = "gaussian") -> GradientEstimator:
    """g = (F(x + μu) − F(x − μu)) u / (2μ), 2q queries (statement E2-antithetic)."""
    mu, q = _checked(smoothing_radius, num_directions, directions)

    def points(x, u):
        return jnp.concatenate([x + mu * u, x - mu * u])

    def combine(points, values):
        half_step = (points[:q] - points[q:]) / (2 * mu)
        return _mean_over_directions((values[:q] - values[q:]) / (2 * mu), half_step)

    return GradientEstimator("antithetic", _draw(directions, q), points, combine, 2 * q, "E3-antithetic")


def forward(smoothing_radius: float, num_directions: int, directions: str = "gaussian") -> GradientEstimator:
    """g = (F(x + μu) − F(x)) u / μ with a fresh baseline for each direction, 2q queries (E2-forward)."""
    mu, q = _checked(smoothing_radius, num_directions, directions)

    def points(x, u):
        return jnp.concatenate([x + mu * u, jnp.broadcast_to(x, u.shape)])

    def combine(points, values):
        return _mean_over_directions((values[:q] - values[q:]) / mu, (points[:q] - points[q:]) / mu)

    return GradientEstimator("forward", _draw(directions, q), points, combine, 2 * q, "E3-forward")


def forward_shared(smoothing_radius: float, num_directions: int, directions: str = "gaussian") -> GradientEstimator:
    """The forward estimator with one baseline for all directions, q + 1 queries.

    Its second moment and covariance are exactly those of fresh baselines (statement E2-shared).
    """
    mu, q = _checked(smoothing_radius, num_directions, directions)

    def points(x, u):
        return jnp.concatenate([x[None], x + mu * u])

    def combine(points, values):
        return _mean_over_directions((values[1:] - values[0]) / mu, (points[1:] - points[0]) / mu)

    return GradientEstimator("forward-shared", _draw(directions, q), points, combine, q + 1, "E3-forward", True)


def _mean_over_directions(slopes: Float[Array, " q"], directions: Float[Array, "q ..."]) -> Float[Array, "..."]:
    return jnp.tensordot(slopes, directions, axes=1, precision="highest") / len(slopes)


def _draw(name: str, count: int):
    def draw(key, shape):
        return DIRECTIONS[name](key, count, shape)

    return draw


def _checked(smoothing_radius: float, num_directions: int, directions: str) -> tuple[float, int]:
    if not 0 < smoothing_radius < float("inf"):
        raise ValueError(f"smoothing_radius must be > 0 and finite, got {smoothing_radius}")
    if num_directions < 1:
        raise ValueError(f"num_directions must be >= 1, got {num_directions}")
    if directions not in DIRECTIONS:
        raise ValueError(f"directions must be one of {', '.join(DIRECTIONS)}, got {directions!r}")
    return smoothing_radius, num_directions
