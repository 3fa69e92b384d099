"""Points and curvatures that several sections verify on, and one measurement they share."""

import numpy as np

from sims.attacks.estimators.estimator import build_estimator
from sims.measurements.gradient_moments import gradient_moments
from sims.measurements.streaming import Estimate
from sims.verification.check import Measure
from sims.victims.oracle import Oracle


def random_quadratic(d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dense symmetric H (d, d) with eigenvalues of both signs of order 1/√d, a slope c and a point x (d,)."""
    rng = np.random.default_rng([seed, d])
    square = rng.normal(size=(d, d))
    hessian = (square + square.T) / (2 * d) + np.eye(d) / np.sqrt(d)
    slope, point = rng.normal(size=(2, d)) / np.sqrt(d)
    return hessian, slope, point


def second_moment(estimator: str, q: int, radius: float, oracle: Oracle, point: np.ndarray, samples: int) -> Measure:
    """E‖ḡ‖² of the Gaussian estimator of that name."""

    def measure(key) -> Estimate:
        built, x = build_estimator(estimator, radius, q), point.astype(np.float32)
        return gradient_moments(key, built, oracle, x, 0, np.zeros_like(x), samples).second_moment

    return measure


def trace_and_square(hessian: np.ndarray) -> dict[str, float]:
    """tr H and tr H² under the names the statements use."""
    return {"tr": float(np.trace(hessian)), "tr2": float(np.sum(hessian**2))}
