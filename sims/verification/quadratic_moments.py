"""E3: exact second moments on quadratics."""

from collections.abc import Iterator

import numpy as np

from sims.verification.check import Check
from sims.verification.instances import random_quadratic, second_moment, trace_and_square
from sims.victims.objectives import noisy_oracle, quadratic

D, MU, SIGMA, SAMPLES = 12, 0.4, 0.5, 60_000
DIMENSIONS = (12, 64, 784)


def checks() -> Iterator[Check]:
    """Rows of E3."""
    yield from _quadratics()


def _quadratics() -> Iterator[Check]:
    """E3 with a dense H at three dimensions."""
    for d in DIMENSIONS:
        hessian, slope, point = random_quadratic(d)
        oracle = noisy_oracle(quadratic(hessian, slope), SIGMA)
        values = {"d": d, "mu": MU, "V": SIGMA**2, "grad": float(np.linalg.norm(hessian @ point + slope))}
        forward = values | trace_and_square(hessian)
        for name, arguments in (("forward", forward), ("antithetic", values)):
            measure = second_moment(name, 1, MU, oracle, point, SAMPLES)
            yield Check(f"E3-{name}", f"quadratic, general H, d = {d}", arguments, measure)
