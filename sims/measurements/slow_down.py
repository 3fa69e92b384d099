"""Slow-down of an attack by a defence: measured by restricted mean queries, predicted from the second moment (C5)."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from sims.intervals import Interval, bootstrap
from theory.averaging import predicted_second_moment


def restricted_queries(queries: Int[np.ndarray, " n"], success: np.ndarray, budget: int) -> Float[np.ndarray, " n"]:
    """Queries until success, censored at the budget: an image that resisted counts as the whole budget."""
    return np.where(success, queries, budget).astype(float)


def measured_slow_down(reference: Float[np.ndarray, " n"], defended: Float[np.ndarray, " n"], seed: int) -> Interval:
    """Ratio of restricted mean queries on the same images, with a paired bootstrap interval over the images."""

    def ratio(below: Float[np.ndarray, "*r n"], above: Float[np.ndarray, "*r n"]) -> Any:
        return above.mean(axis=-1) / below.mean(axis=-1)

    return bootstrap(ratio, reference, defended, seed=seed)


def predicted_slow_down(
    reference: Float[np.ndarray, " n"],
    budget: int,
    gradient_norms: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    variances: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    dimension: int,
    smoothing_radius: float,
    num_directions: int,
) -> float:
    """Slow-down of the antithetic estimator by E3 and E2-shared, C2's scaling: steps grow as E‖ḡ‖²/‖∇F̄‖².

    Each image's reference queries are multiplied by the ratio of that quantity, defended over reference (both pairs
    are in that order reversed: reference first), and censored at the budget. The loss is taken as linear; that probes
    are clipped to the box, steps are signs and candidates are projected is left out.
    """
    costs = [
        np.array([_cost(dimension, g, v, smoothing_radius, num_directions) for g, v in zip(grad, var, strict=True)])
        for grad, var in zip(gradient_norms, variances, strict=True)
    ]
    ratio = np.divide(costs[1], costs[0], out=np.full_like(costs[1], np.inf), where=np.isfinite(costs[0]))
    stretched = np.minimum(reference * ratio, budget)
    return float(np.where(reference < budget, stretched, budget).mean() / reference.mean())


def _cost(dimension: int, gradient_norm: float, variance: float, smoothing_radius: float, num_directions: int) -> float:
    """E‖ḡ‖²/‖∇F̄‖², infinite without a gradient."""
    if gradient_norm == 0:
        return np.inf
    values = dimension, gradient_norm, variance, smoothing_radius, num_directions
    return predicted_second_moment("E3-antithetic", *values) / gradient_norm**2
