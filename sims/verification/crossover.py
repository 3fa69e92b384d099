"""E7: where defence noise overtakes the estimator's own variance."""

from collections.abc import Iterator

import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.instances import second_moment
from sims.victims.objectives import linear, noisy_oracle

D, MU, SIGMA, SAMPLES = 12, 0.4, 0.5, 60_000
DIMENSIONS = (12, 64, 784)


def checks() -> Iterator[Check]:
    """Rows of E7."""
    yield from _crossover()


def _crossover() -> Iterator[Check]:
    """The σ at which noise equals the estimator's own variance, from two separate measurements."""
    slope = np.linspace(0.5, 1.5, D)
    values = {"d": D, "mu": MU, "grad": float(np.linalg.norm(slope))}
    for name in ("forward", "antithetic"):
        yield Check(f"E7-{name}", "linear", values, _crossover_deviation(name, slope))


def _crossover_deviation(name: str, slope: np.ndarray) -> Measure:
    def measure(key) -> Estimate:
        quiet = second_moment(name, 1, MU, noisy_oracle(linear(slope), 0.0), np.zeros(D), 2 * SAMPLES)(key)
        unit = second_moment(name, 1, MU, noisy_oracle(linear(np.zeros(D)), 1.0), np.zeros(D), 2 * SAMPLES)(key)
        own = quiet.value - float(slope @ slope)
        sigma = float(np.sqrt(own / unit.value))
        relative = np.hypot(quiet.standard_error / own, unit.standard_error / unit.value)
        return Estimate(sigma, sigma * float(relative) / 2)

    return measure
