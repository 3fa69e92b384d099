"""P2: the variance of pools of exchangeable purifiers, by their size."""

from collections.abc import Iterator
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from sims.measurements.compilation import QUICK_COMPILATION
from sims.measurements.streaming import Estimate, absorb, empty
from sims.verification.check import Check, Measure, Statistic, sampled

POOLS, POOL_SIZES, GROUPS, VARIANCE = 40_000, (2, 6), 20, 2.0


def checks() -> Iterator[Check]:
    """Rows of P2."""
    for size in POOL_SIZES:
        values = {"V": VARIANCE, "K": size}
        mean = sampled(_pool_variance(size), VARIANCE, 4 * POOLS)
        yield Check("P2-mean", f"Gaussian losses, K = {size}", values, mean)
        yield Check("P2-scatter", f"Gaussian losses, K = {size}", {"K": size}, _pool_scatter(size))


@cache
def _pool_variance(size: int) -> Statistic:
    """Variance over the members of one random pool of `size` Gaussian losses of the given variance."""

    def statistic(variance, key):
        return jnp.var(jnp.sqrt(variance) * jax.random.normal(key, (size,)))

    return statistic


def _pool_scatter(size: int) -> Measure:
    """Relative standard deviation of the pool variance: its mean over groups of pools, error from the groups."""

    def measure(key) -> Estimate:
        groups = empty(1)
        for i in range(GROUPS):
            groups = absorb(groups, np.asarray(_relative_scatter(size, jax.random.fold_in(key, i)))[None, None])
        return groups.estimate(0)

    return measure


@partial(jax.jit, static_argnums=0, compiler_options=QUICK_COMPILATION)
def _relative_scatter(size: int, key):
    values = jax.vmap(partial(_pool_variance(size), 1.0))(jax.random.split(key, POOLS))
    return jnp.std(values, ddof=1) / jnp.mean(values)
