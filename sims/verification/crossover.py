"""E7: where defence noise overtakes the estimator's own variance."""

from collections.abc import Iterator

import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.instances import LARGE, SMALL, second_moment
from sims.victims.objectives import linear, noisy_oracle

MU = 0.4
SAMPLES = {SMALL: 120_000, LARGE: 20_000}


def checks() -> Iterator[Check]:
    """The σ at which noise equals the estimator's own variance, from two separate measurements."""
    for d in (SMALL, LARGE):
        slope = np.linspace(0.5, 1.5, d)
        values = {"d": d, "mu": MU, "grad": float(np.linalg.norm(slope))}
        for name in ("forward", "antithetic"):
            measure = _crossover_deviation(name, slope, SAMPLES[d])
            yield Check(f"E7-{name}", f"linear, d = {d}", values, measure, slow=d > SMALL)


def _crossover_deviation(name: str, slope: np.ndarray, samples: int) -> Measure:
    def measure(key) -> Estimate:
        origin = np.zeros(len(slope))
        quiet = second_moment(name, 1, MU, noisy_oracle(linear(slope), 0.0), origin, samples)(key)
        unit = second_moment(name, 1, MU, noisy_oracle(linear(origin), 1.0), origin, samples)(key)
        own = quiet.value - float(slope @ slope)
        sigma = float(np.sqrt(own / unit.value))
        relative = np.hypot(quiet.standard_error / own, unit.standard_error / unit.value)
        return Estimate(sigma, sigma * float(relative) / 2)

    return measure
