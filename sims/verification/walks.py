"""Walks of ZO-SGD on noisy quadratics, and what several sections read off them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sims.attacks.estimators.estimator import GradientEstimator
from sims.attacks.estimators.table import build_estimator
from sims.measurements.streaming import Estimate
from sims.measurements.zo_sgd import descend
from sims.verification.check import Measure
from sims.victims.objectives import Objective, noisy_oracle
from sims.victims.oracle import Oracle

MU, SIGMA, Q = 0.5, 0.3, 8
FEW = 2  # dimensions, in which every term counts


class Walk(NamedTuple):
    """ZO-SGD from `start` on one noisy quadratic."""

    oracle: Oracle
    estimator: GradientEstimator
    start: np.ndarray
    step_size: float
    steps: int
    chains: int


def largest_step(d: int, curvature: float, q: int) -> float:
    """The largest stable step where every curvature is this one."""
    return 2 / (curvature * (1 + (d + 1) / q))


def walk_on(
    curvatures: np.ndarray, start: np.ndarray, objective: Objective, estimator: str, layout, share: float = 0.3
) -> Walk:
    """A walk at that share of the largest stable step. layout: (chains, directions q, steps)."""
    chains, q, steps = layout
    eta = share * largest_step(len(curvatures), float(curvatures.max()), q)
    return Walk(noisy_oracle(objective, SIGMA), build_estimator(estimator, MU, q), start, eta, steps, chains)


def squared_length(x: jax.Array) -> jax.Array:
    """‖x‖² of every chain."""
    return jnp.sum(x**2, axis=-1)


def trajectory(key, walk: Walk, observe: Callable[[jax.Array], jax.Array]) -> np.ndarray:
    """observe(x) for every chain, (steps + 1, chains) float64."""
    start = np.broadcast_to(walk.start.astype(np.float32), (walk.chains, len(walk.start)))
    seen = descend(key, walk.estimator, walk.oracle, jnp.asarray(start), 0, walk.step_size, walk.steps, observe)
    return np.asarray(seen, np.float64)


def over_chains(values: np.ndarray) -> Estimate:
    """Mean over independent chains."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def mean_at(walk: Walk, step: int, observe: Callable[[jax.Array], jax.Array]) -> Measure:
    """Mean of an observation over the chains after that step."""
    return lambda key: over_chains(trajectory(key, walk, observe)[step])


def late_mean(walk: Walk, observe: Callable[[jax.Array], jax.Array]) -> Measure:
    """Mean over the second half of the steps, the error from independent chains."""
    return lambda key: over_chains(trajectory(key, walk, observe)[walk.steps // 2 :].mean(axis=0))
