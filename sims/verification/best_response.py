"""C6: the largest smoothing radius that moves a function by no more than a tolerance."""

import math
from collections.abc import Iterator

import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.instances import LARGE, SMALL, mean_norm
from sims.verification.smoothing import BATCH, HALF_NORMAL, LIPSCHITZ, MU, SAMPLES, value_shift
from sims.victims.objectives import Objective, cone, ridge

TOLERANCE = 0.5


def checks() -> Iterator[Check]:
    """Rows of C6 on functions whose shift is proportional to μ."""
    for d in (SMALL, LARGE):
        values = {"d": d, "L0": LIPSCHITZ, "eps": TOLERANCE}
        measure = radius_of_shift(cone(d, LIPSCHITZ), SAMPLES[d], BATCH[d])
        yield Check("C6-radius", f"cone, d = {d}", values, measure, math.sqrt(d) / mean_norm(d), slow=d > SMALL)
    values = {"d": SMALL, "L0": LIPSCHITZ, "eps": TOLERANCE}
    measure = radius_of_shift(ridge(SMALL, LIPSCHITZ), 4 * SAMPLES[SMALL], BATCH[SMALL])
    yield Check("C6-radius", "ridge", values, measure, math.sqrt(SMALL) / HALF_NORMAL)


def radius_of_shift(objective: Objective, samples: int, batch: int) -> Measure:
    """The μ at which F_μ(0) − F(0) reaches the tolerance, of a function whose shift is proportional to μ."""

    def measure(key) -> Estimate:
        shift = value_shift(objective, np.zeros(objective.dimension, np.float32), MU, samples, batch)(key)
        radius = MU * TOLERANCE / shift.value
        return Estimate(radius, radius * shift.standard_error / shift.value)

    return measure
