"""One row of the verification: a statement, an instance with the values it takes there, and how it is measured."""

from collections.abc import Callable
from functools import cache, partial
from threading import Lock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from sims.measurements.compilation import QUICK_COMPILATION, turn
from sims.measurements.streaming import Estimate, Stream, absorb, empty
from sims.verification.verdict import Verdict, judge
from sims.victims.oracle import Oracle
from theory.bound import Bound
from theory.catalogue import find

Measure = Callable[[Key[Array, ""]], Estimate]
Statistic = Callable[[Any, Key[Array, ""]], Any]


class Check(NamedTuple):
    """values: the statement's arguments on this instance. certified: they are known exactly, not estimated.

    known: measured / bound on this instance, worked out apart from the statement, where it can be; for an equality it
    is 1. slow: left out of a quick run, in which every statement keeps rows that see all of it.
    """

    label: str
    instance: str
    values: dict[str, Any]
    measure: Measure
    known: float | None = None
    certified: bool = True
    slow: bool = False


class Row(NamedTuple):
    """A check that was run; `violated_assumptions` are the machine-checkable ones that do not hold there."""

    check: Check
    bound: Bound
    measured: Estimate
    limit: float
    verdict: Verdict
    violated_assumptions: tuple[str, ...]

    @property
    def expected(self) -> float | None:
        """What should be measured, where it is known exactly."""
        known = 1.0 if self.bound.sense == "equality" else self.check.known
        return None if known is None else known * self.limit


def run_check(key: Key[Array, ""], check: Check, bound: Bound | None = None) -> Row:
    """Measure, evaluate the statement (or the `bound` given in its place), and judge."""
    return judged(check, check.measure(key), bound or find(check.label))


def judged(check: Check, measured: Estimate, bound: Bound) -> Row:
    """The row of a measurement that was taken."""
    limit = bound(**check.values)
    verdict = judge(bound.sense, measured, limit, check.known)
    return Row(check, bound, measured, limit, verdict, bound.violated(**check.values))


def sampled(statistic: Statistic, given: Any, samples: int, batch: int = 20_000) -> Measure:
    """Mean of a scalar `statistic(given, key)` over independent keys, streamed.

    statistic: a function that is the same object for all rows of its kind, so that it is compiled once.
    """

    def measure(key):
        return stream(key, statistic, given, samples, batch).estimate(0)

    return measure


def stream(key: Key[Array, ""], statistic: Statistic, given: Any, samples: int, batch: int) -> Stream:
    """Stream of a statistic, a scalar or (k,), over at least `samples` keys in whole batches."""
    seen = None
    for i in range(-(-samples // batch)):
        with turn(statistic, batch):
            values = np.asarray(_many(statistic, batch, given, jax.random.fold_in(key, i))).reshape(batch, -1)
        seen = absorb(empty(values.shape[1]) if seen is None else seen, values)
    assert seen is not None
    return seen


@partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK_COMPILATION)
def _many(statistic, batch, given, key):
    return jax.vmap(partial(statistic, given))(jax.random.split(key, batch))


def loss_variance(oracle: Oracle, point: np.ndarray, label: int, samples: int, batch: int = 256) -> Measure:
    """V at a point from pairs of fresh answers: half their squared difference."""
    given = oracle.params, jnp.stack([jnp.asarray(point, jnp.float32)] * 2), jnp.full(2, label)
    return sampled(_half_square(oracle._replace(params=None)), given, samples, batch)


@cache
def _half_square(oracle: Oracle) -> Statistic:
    """The same function for every oracle that answers alike."""

    def statistic(given, key):
        params, pair, labels = given
        one, other = oracle.query(params, oracle.draw(key, 2), pair, labels).value
        return (one - other) ** 2 / 2

    return statistic


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
