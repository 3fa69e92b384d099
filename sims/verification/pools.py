"""P2: the variance of pools of exchangeable purifiers, by their size."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from sims.measurements.streaming import Estimate, absorb, empty
from sims.verification.check import Check, Measure, sampled

SIDE, PATCH, PATCHES, K, SAMPLES = 4, 2, 4, 3, 40_000
RATIO_SAMPLES = 200_000  # a bound far below the measured value asks for a small error
POOLS, POOL_SIZES = 40_000, (2, 6)


def checks() -> Iterator[Check]:
    """Rows of P2."""
    for size in POOL_SIZES:
        yield Check("P2-mean", f"Gaussian losses, K = {size}", {"V": 2.0, "K": size}, _pool_variances(size, 2.0))
        yield Check("P2-scatter", f"Gaussian losses, K = {size}", {"K": size}, _pool_scatter(size))


def _pool_variance(key, size: int, variance: float) -> jax.Array:
    """Variance over the members of one random pool of `size` Gaussian losses."""
    return jnp.var(jnp.sqrt(variance) * jax.random.normal(key, (size,)))


def _pool_variances(size: int, variance: float) -> Measure:
    return sampled(lambda key: _pool_variance(key, size, variance), POOLS)


def _pool_scatter(size: int) -> Measure:
    """Relative standard deviation of the pool variance: its mean over groups of pools, error from the groups."""

    def measure(key) -> Estimate:
        groups = empty(1)
        relative = jax.jit(lambda k: _relative_scatter(jax.vmap(lambda one: _pool_variance(one, size, 1.0))(k)))
        for i in range(20):
            keys = jax.random.split(jax.random.fold_in(key, i), POOLS)
            groups = absorb(groups, np.asarray(relative(keys))[None, None])
        return groups.estimate(0)

    return measure


def _relative_scatter(values: jax.Array) -> jax.Array:
    return jnp.std(values, ddof=1) / jnp.mean(values)
