"""E1: what the mean of a gradient estimate is, for each law of directions, with a random victim throughout."""

from collections.abc import Iterator

import numpy as np

from sims.attacks.estimators.estimator import build_estimator
from sims.measurements.gradient_moments import gradient_moments
from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.instances import random_quadratic
from sims.victims.objectives import cubic, noisy_oracle, pool_oracle, quadratic
from sims.victims.oracle import Oracle

D, SAMPLES = 12, 60_000
SLOPE, THIRD, RADIUS = 1.0, 6.0, 0.5


def checks() -> Iterator[Check]:
    """Unbiasedness under a shift pool and under loss noise, and the second-order bias on a cubic."""
    hessian, slope, point = random_quadratic(D)
    gradient = hessian @ point + slope
    shift = 0.1 * np.ones((1, D))
    pool = pool_oracle(quadratic(hessian, slope), np.concatenate([shift, -shift]))
    norm = float(np.linalg.norm(gradient))
    for name in ("forward", "forward-shared", "antithetic"):
        measure = alignment(name, "gaussian", 4, 0.2, pool, point, gradient)
        yield Check("E1-alignment", f"quadratic, shift pool, {name}", {"grad_mu": norm}, measure)
    measure = alignment("antithetic", "orthogonal", 4, 0.2, pool, point, gradient)
    yield Check("E1-alignment", "quadratic, shift pool, orthogonal", {"grad_mu": norm}, measure)
    oracle = noisy_oracle(cubic(D, SLOPE, THIRD), 0.1)
    values = {"d": D, "mu": RADIUS, "kappa": THIRD, "c": SLOPE}
    origin, mean_coordinate = np.zeros(D), np.full(D, 1 / D)
    for law in ("gaussian", "sphere", "rademacher", "coordinate"):
        measure = alignment("antithetic", law, 4, RADIUS, oracle, origin, mean_coordinate)
        needed = {k: v for k, v in values.items() if k != "d" or law in ("sphere", "coordinate")}
        yield Check(f"E1-{law}", "cubic, loss noise", needed, measure)


def alignment(
    estimator: str, directions: str, q: int, radius: float, oracle: Oracle, point: np.ndarray, reference: np.ndarray
) -> Measure:
    """E⟨ḡ, reference⟩."""

    def measure(key) -> Estimate:
        built = build_estimator(estimator, radius, q, directions)
        x, along = point.astype(np.float32), reference.astype(np.float32)
        return gradient_moments(key, built, oracle, x, 0, along, SAMPLES // q).alignment

    return measure
