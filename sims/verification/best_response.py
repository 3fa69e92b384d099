"""C6: the largest smoothing radius that moves a function by no more than a tolerance."""

from collections.abc import Iterator

import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.smoothing import MU, SAMPLES, D, value_shift
from sims.victims.objectives import Objective, cone, ridge

TOLERANCE = 0.5


def checks() -> Iterator[Check]:
    """Rows of C6 on functions whose shift is proportional to μ."""
    origin = np.zeros(D, np.float32)
    for objective in (cone(D, 1.5), ridge(D, 1.5)):
        values = {"d": D, "L0": objective.lipschitz, "eps": TOLERANCE}
        yield Check("C6-radius", objective.name, values, radius_of_shift(objective, origin))


def radius_of_shift(objective: Objective, x: np.ndarray) -> Measure:
    """The μ at which F_μ(x) − F(x) reaches the tolerance, of a function whose shift is proportional to μ."""

    def measure(key) -> Estimate:
        shift = value_shift(objective, x, MU, SAMPLES)(key)
        radius = MU * TOLERANCE / shift.value
        return Estimate(radius, radius * shift.standard_error / shift.value)

    return measure
