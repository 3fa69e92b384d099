"""One row of the verification: a statement, an instance with the values it takes there, and how it is measured."""

from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from sims.measurements.gradient_moments import QUICK_COMPILATION
from sims.measurements.streaming import Estimate, Stream, absorb, empty
from sims.verification.verdict import Verdict, judge
from sims.victims.oracle import Oracle
from theory.bound import Bound
from theory.catalogue import find

Measure = Callable[[Key[Array, ""]], Estimate]


class Check(NamedTuple):
    """values: the statement's arguments on this instance. certified: they are known exactly, not estimated."""

    label: str
    instance: str
    values: dict[str, Any]
    measure: Measure
    certified: bool = True


class Row(NamedTuple):
    """A check that was run; `violated_assumptions` are the machine-checkable ones that do not hold there."""

    check: Check
    bound: Bound
    measured: Estimate
    limit: float
    verdict: Verdict
    violated_assumptions: tuple[str, ...]


def run_check(key: Key[Array, ""], check: Check, bound: Bound | None = None) -> Row:
    """Measure, evaluate the statement (or the `bound` given in its place), and judge."""
    bound = bound or find(check.label)
    limit, measured = bound(**check.values), check.measure(key)
    return Row(check, bound, measured, limit, judge(bound.sense, measured, limit), bound.violated(**check.values))


def sampled(statistic: Callable[[Key[Array, ""]], Any], samples: int, batch: int = 20_000) -> Measure:
    """Mean of a scalar `statistic` of one key over independent keys, streamed."""

    def measure(key):
        return stream(key, statistic, samples, batch).estimate(0)

    return measure


def stream(key: Key[Array, ""], statistic: Callable[[Key[Array, ""]], Any], samples: int, batch: int) -> Stream:
    """Stream of a statistic of one key, a scalar or (k,), over at least `samples` keys in whole batches."""
    many = jax.jit(lambda key: jax.vmap(statistic)(jax.random.split(key, batch)), compiler_options=QUICK_COMPILATION)
    seen = None
    for i in range(-(-samples // batch)):
        values = np.asarray(many(jax.random.fold_in(key, i)))
        values = values.reshape(batch, -1)
        seen = absorb(empty(values.shape[1]) if seen is None else seen, values)
    assert seen is not None
    return seen


def loss_variance(oracle: Oracle, point: np.ndarray, label: int, samples: int, batch: int = 256) -> Measure:
    """V at a point from pairs of fresh answers: half their squared difference."""
    pair = jnp.stack([jnp.asarray(point, jnp.float32)] * 2)

    def statistic(key):
        one, other = oracle.query(oracle.params, oracle.draw(key, 2), pair, jnp.full(2, label)).value
        return (one - other) ** 2 / 2

    return sampled(statistic, samples, batch)


def once(key: Key[Array, ""], measure: Measure) -> Measure:
    """A measure that is taken a single time, from `key`, for all the rows that judge the same quantity."""
    lock, taken = Lock(), []

    def take(_) -> Estimate:
        with lock:
            if not taken:
                taken.append(measure(key))
        return taken[0]

    return take


def exact(value: float) -> Estimate:
    """A number computed without sampling."""
    return Estimate(float(value), 0.0)
