"""Points, curvatures and exact numbers that several sections verify on, and the measurements they share."""

import math

import numpy as np
from scipy.special import gammaln

from sims.attacks.estimators.estimator import GradientEstimator
from sims.attacks.estimators.table import build_estimator
from sims.measurements.gradient_moments import GradientMoments, gradient_moments
from sims.measurements.streaming import Estimate
from sims.verification.check import Measure
from sims.victims.oracle import Oracle

SMALL, LARGE = 12, 784
"""Dimensions on which statements are verified; rows at the large one are left out of quick runs.

Three statements have no row there: E1-norm, whose measurement from products of two estimates would take minutes;
E5-threshold, which is read off the 2 of d + 2, below the error of 784; and E5-mixed, of the same formula as E5-loss.
"""


def mean_norm(d: int) -> float:
    """E‖u‖ of u ~ N(0, I_d)."""
    return math.sqrt(2) * math.exp(gammaln((d + 1) / 2) - gammaln(d / 2))


def random_quadratic(d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dense symmetric H (d, d) with eigenvalues of both signs of order 1/√d, a slope c and a point x (d,)."""
    rng = np.random.default_rng([seed, d])
    square = rng.normal(size=(d, d))
    hessian = (square + square.T) / (2 * d) + np.eye(d) / np.sqrt(d)
    slope, point = rng.normal(size=(2, d)) / np.sqrt(d)
    return hessian, slope, point


def trace_and_square(hessian: np.ndarray) -> dict[str, float]:
    """tr H and tr H² under the names the statements use."""
    return {"tr": float(np.trace(hessian)), "tr2": float(np.sum(hessian**2))}


def second_moment(
    estimator: str,
    q: int,
    radius: float,
    oracle: Oracle,
    point: np.ndarray,
    samples: int,
    directions: str = "gaussian",
    label: int = 0,
) -> Measure:
    """E‖ḡ‖² of the estimator of that name."""
    built = build_estimator(estimator, radius, q, directions)
    return moment("second_moment", built, oracle, point, np.zeros_like(point), samples, label)


def moment(
    statistic: str,
    estimator: GradientEstimator,
    oracle: Oracle,
    point: np.ndarray,
    reference: np.ndarray,
    samples: int,
    label: int = 0,
) -> Measure:
    """One of the `GradientMoments` of an estimator against a reference of the point's shape."""
    assert statistic in GradientMoments._fields

    def measure(key) -> Estimate:
        x, along = point.astype(np.float32), reference.astype(np.float32)
        return getattr(gradient_moments(key, estimator, oracle, x, label, along, samples), statistic)

    return measure
