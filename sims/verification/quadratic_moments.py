"""E3: exact second moments on quadratics."""

from collections.abc import Iterator

import numpy as np

from sims.verification.check import Check
from sims.verification.instances import LARGE, SMALL, random_quadratic, second_moment, trace_and_square
from sims.victims.objectives import diagonal_quadratic, noisy_oracle, quadratic

MU, SIGMA = 0.4, 0.5
SAMPLES = {SMALL: 60_000, LARGE: 30_000}
# few dimensions, where each term counts: tr H = 0, so that all of the curvature's term is tr H², and the largest tr H
SHAPES = {"saddle": np.array([3.0, -3.0, 3.0, -3.0]), "bowl": np.array([3.0, 3.0, 3.0, 3.0])}


def checks() -> Iterator[Check]:
    """A dense H at two dimensions, and a saddle and a bowl in four."""
    for d, samples in SAMPLES.items():
        hessian, slope, point = random_quadratic(d)
        oracle = noisy_oracle(quadratic(hessian, slope), SIGMA)
        values = {"d": d, "mu": MU, "V": SIGMA**2, "grad": float(np.linalg.norm(hessian @ point + slope))}
        forward = values | trace_and_square(hessian)
        for name, arguments in (("forward", forward), ("antithetic", values)):
            measure = second_moment(name, 1, MU, oracle, point, samples)
            yield Check(f"E3-{name}", f"quadratic, general H, d = {d}", arguments, measure, slow=d > SMALL)
    for shape, curvatures in SHAPES.items():
        d = len(curvatures)
        point, oracle = np.full(d, 0.5), noisy_oracle(diagonal_quadratic(curvatures, np.zeros(d)), SIGMA)
        gradient = float(np.linalg.norm(curvatures * point))
        values = {"d": d, "mu": MU, "V": SIGMA**2, "grad": gradient} | trace_and_square(np.diag(curvatures))
        measure = second_moment("forward", 1, MU, oracle, point, 4 * SAMPLES[SMALL])
        yield Check("E3-forward", f"{shape}, d = {d}", values, measure)
