"""Monte Carlo moments of a gradient estimate at one point, streamed in batches of fixed size."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from sims.attacks.estimators.estimator import GradientEstimator
from sims.measurements.compilation import QUICK_COMPILATION, turn
from sims.measurements.streaming import Estimate, absorb, empty
from sims.victims.oracle import Oracle

FEWEST_ROWS, NUMBERS_PER_BATCH = 512, 2**19
GROUPS = 16


class GradientMoments(NamedTuple):
    """second_moment: E‖ḡ‖². alignment: E⟨ḡ, a⟩. cosine: E cos(ḡ, a). squared_bias: ‖E ḡ − a‖², for the reference a."""

    second_moment: Estimate
    alignment: Estimate
    cosine: Estimate
    squared_bias: Estimate


def gradient_moments(
    key: Key[Array, ""],
    estimator: GradientEstimator,
    oracle: Oracle,
    point: Float[np.ndarray, "..."],
    label: int,
    reference: Float[np.ndarray, "..."],
    samples: int,
    on_batch: Callable[[int], None] = lambda done: None,
) -> GradientMoments:
    """Moments of ḡ at `point` over at least `samples` independent estimates, in whole batches of a size set by d.

    reference: the gradient a that ḡ should have as its mean, same shape as the point.
    The squared bias is the mean of ⟨m − a, m′ − a⟩ over pairs of independent group means, GROUPS groups a batch:
    unbiased, may be negative.
    Raises ValueError when samples < 2.
    """
    if samples < 2:
        raise ValueError(f"samples must be >= 2, got {samples}")
    size = batch_size(estimator.queries_per_estimate * oracle.rows_per_query, np.size(point))
    program = estimator, oracle._replace(params=None), size
    each, pairs = empty(3), empty(1)
    for i in range(-(-samples // size)):
        with turn(*program, np.shape(point)):
            seen = _batch(*program, jax.random.fold_in(key, i), oracle.params, point, label, reference)
            statistics, bias = map(np.asarray, seen)
        each, pairs = absorb(each, statistics), absorb(pairs, bias[:, None])
        on_batch(min(each.count, samples))
    return GradientMoments(each.estimate(0), each.estimate(1), each.estimate(2), pairs.estimate(0))


def batch_size(rows_per_estimate: int, dimension: int) -> int:
    """Estimates of a batch: whole GROUPS, as many as stay within the batch's rows, or one a group."""
    rows = max(FEWEST_ROWS, NUMBERS_PER_BATCH // dimension)
    return max(1, rows // rows_per_estimate // GROUPS) * GROUPS


@partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=QUICK_COMPILATION)
def _batch(estimator, oracle, size, key, params, point, label, reference):
    """Per estimate ‖ḡ‖², ⟨ḡ, a⟩ and the cosine, (size, 3); and ⟨m − a, m′ − a⟩ of paired groups, (GROUPS / 2,)."""

    def ask(direction_key, defense_key):
        points = estimator.points(point, estimator.directions(direction_key, point.shape))
        return points, oracle.draw(defense_key, estimator.queries_per_estimate)

    points, keys = jax.vmap(ask)(*jax.random.split(key, (2, size)))
    rows = points.reshape(-1, *point.shape)
    values = oracle.query(params, keys.reshape(-1), rows, jnp.full(len(rows), label)).value
    gradients = jax.vmap(estimator.combine)(points, values.reshape(size, -1)).reshape(size, -1)
    flat = reference.reshape(-1)
    squared = jnp.sum(gradients**2, axis=1)
    aligned = gradients @ flat
    cosine = aligned / jnp.sqrt(jnp.maximum(squared * jnp.sum(flat**2), 1e-30))
    one, other = gradients.reshape(2, GROUPS // 2, size // GROUPS, -1).mean(axis=2) - flat
    return jnp.stack([squared, aligned, cosine], axis=1), jnp.sum(one * other, axis=1)
