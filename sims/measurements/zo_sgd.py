"""Zeroth-order stochastic gradient descent: many independent chains, observed at every step."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sims.attacks.estimators.estimator import GradientEstimator
from sims.measurements.compilation import QUICK_COMPILATION, turn
from sims.victims.oracle import Oracle


def descend(
    key: Key[Array, ""],
    estimator: GradientEstimator,
    oracle: Oracle,
    start: Float[Array, "chains ..."],
    label: int,
    step_size: float,
    steps: int,
    observe: Callable[[Float[Array, "chains ..."]], Array],
) -> Array:
    """x ← x − ηḡ from each start, unconstrained; returns observe(x) stacked over the steps 0..steps.

    Chain i uses fold_in(key, i) and its step t fold_in(·, t). Ghadimi & Lan (2013) without the projection.
    """
    bare = oracle._replace(params=None)
    with turn(estimator, bare, steps, observe, start.shape):
        seen = _walk(estimator, bare, steps, observe, key, oracle.params, jnp.asarray(start), label, step_size)
        return jax.block_until_ready(seen)


@partial(jax.jit, static_argnums=(0, 1, 2, 3), compiler_options=QUICK_COMPILATION)
def _walk(estimator, oracle, steps, observe, key, params, start, label, step_size):
    chains, shape = len(start), start.shape[1:]
    streams = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(chains))

    def ask(stream, t, x):
        direction_key, defense_key = jax.random.split(jax.random.fold_in(stream, t))
        points = estimator.points(x, estimator.directions(direction_key, shape))
        return points, oracle.draw(defense_key, estimator.queries_per_estimate)

    def step(x, t):
        points, keys = jax.vmap(ask, (0, None, 0))(streams, t, x)
        rows = points.reshape(-1, *shape)
        values = oracle.query(params, keys.reshape(-1), rows, jnp.full(len(rows), label)).value
        x = x - step_size * jax.vmap(estimator.combine)(points, values.reshape(chains, -1))
        return x, observe(x)

    _, seen = jax.lax.scan(step, start, jnp.arange(steps))
    return jnp.concatenate([observe(start)[None], seen])
