"""E1: what the mean of a gradient estimate is, for each law of directions, with a random victim throughout."""

from collections.abc import Iterator

import numpy as np

from sims.attacks.estimators.table import build_estimator
from sims.verification.check import Check
from sims.verification.instances import LARGE, SMALL, moment
from sims.verification.second_moments import MU, varying_noise
from sims.verification.second_moments import Q as DIRECTIONS
from sims.victims.objectives import cubic, noisy_oracle

RADIUS, Q, SAMPLES = 0.5, 4, 15_000
SLOPE, THIRD = 0.8, 6.0
LAWS = ("gaussian", "sphere", "rademacher", "coordinate")
KINDS = [
    ("antithetic", "gaussian"),
    ("antithetic", "orthogonal"),
    ("forward", "gaussian"),
    ("forward-shared", "gaussian"),
]


def checks() -> Iterator[Check]:
    """Unbiasedness under a shift pool, and the second-order bias on a cubic under loss noise."""
    for name, directions in KINDS:
        yield from _unbiased(name, directions)
    yield _aligned(LARGE, *KINDS[0], SAMPLES // 3)
    for d in (SMALL, LARGE):
        yield from _laws(d)


def _aligned(d: int, name: str, directions: str, samples: int) -> Check:
    pool, estimator = varying_noise(d), build_estimator(name, MU, DIRECTIONS, directions)
    values = {"grad_mu": float(np.linalg.norm(pool.gradient))}
    along = moment("alignment", estimator, pool.oracle, pool.point, pool.gradient, samples)
    return Check("E1-alignment", f"saddle, shift pool, d = {d}, {name}, {directions}", values, along, slow=d > SMALL)


def _unbiased(name: str, directions: str) -> Iterator[Check]:
    """A mean along the gradient, and its length."""
    along = _aligned(SMALL, name, directions, 2 * SAMPLES)
    pool, estimator = varying_noise(SMALL), build_estimator(name, MU, DIRECTIONS, directions)
    squared = moment("squared_bias", estimator, pool.oracle, pool.point, np.zeros(SMALL), 4 * SAMPLES)
    yield from (along, along._replace(label="E1-norm", measure=squared))


def _laws(d: int) -> Iterator[Check]:
    oracle = noisy_oracle(cubic(d, SLOPE, THIRD), 0.1)
    values = {"d": d, "mu": RADIUS, "kappa": THIRD, "c": SLOPE}
    for law in LAWS:
        estimator = build_estimator("antithetic", RADIUS, Q, law)
        mean_coordinate = moment("alignment", estimator, oracle, np.zeros(d), np.full(d, 1 / d), SAMPLES)
        needed = {k: v for k, v in values.items() if k != "d" or law in ("sphere", "coordinate")}
        yield Check(f"E1-{law}", f"cubic, loss noise, d = {d}", needed, mean_coordinate, slow=d > SMALL)
