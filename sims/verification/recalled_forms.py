"""E5: the recalled form on the instance that breaks it, and the sound form in its place."""

from collections.abc import Iterator

import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.instances import second_moment
from sims.verification.moment_bounds import MU, SAMPLES, SPREAD, D, two_losses
from sims.victims.objectives import cone, linear, pool_oracle, two_valued_oracle
from theory.catalogue import find


def checks() -> Iterator[Check]:
    """Rows of E5."""
    yield from _sound()
    yield from _recalled()


def _sound() -> Iterator[Check]:
    """Two equally likely losses Δ apart."""
    for objective, oracle, name in two_losses():
        values = {"d": D, "mu": MU, "L0": objective.lipschitz, "Delta": SPREAD}
        yield Check("E5-sound", name, values, second_moment("forward", 1, MU, oracle, np.zeros(D), SAMPLES))


def _recalled() -> Iterator[Check]:
    """The recalled form on the cone, on either side of its threshold, and its image-level readings."""
    threshold = find("E5-threshold")(d=D)
    for share in (0.5, 8.0):
        spread = share * threshold * MU
        measure = second_moment("forward", 1, MU, two_valued_oracle(cone(D, 1.0), spread), np.zeros(D), 4 * SAMPLES)
        name = f"cone, two losses, ν at {share:g} × threshold"
        yield Check("E5-loss", name, {"d": D, "mu": MU, "L0": 1.0, "nu": spread}, measure)
    slope = np.full(D, 2.0)
    lipschitz, shift = float(np.linalg.norm(slope)), 0.05 * np.ones(D)
    shifts = np.stack([shift, -shift])
    measure = second_moment("forward", 1, MU, pool_oracle(linear(slope), shifts), np.zeros(D), SAMPLES)
    image = {"d": D, "mu": MU, "nu": float(2 * np.linalg.norm(shift))}
    name = "linear, two shifts along the slope"
    yield Check("E5-image", name, image | {"L0f": lipschitz, "L0m": 1.0}, measure)
    yield Check("E5-mixed", name, image | {"L0": 1.0}, measure)
    yield Check("E5-threshold", "cone, d = 3", {"d": 3}, _threshold(3))
    yield Check("E5-factor", "cone, no noise", {"d": D}, _violation(D))


def _cone_moment(d: int, half_spread: float, samples: int) -> Measure:
    return second_moment("forward", 1, 1.0, two_valued_oracle(cone(d, 1.0), half_spread), np.zeros(d), samples)


def _threshold(d: int) -> Measure:
    """The r at which the measured moment d(s + n r²) meets d(4r² + 4r√d + d), s and n measured apart."""

    def measure(key) -> Estimate:
        signal = _cone_moment(d, 0.0, 10 * SAMPLES)(key)
        noise = second_moment("forward", 1, 1.0, two_valued_oracle(linear(np.zeros(d)), 1.0), np.zeros(d), SAMPLES)(key)
        excess, curvature = signal.value / d - d, 4 - noise.value / d
        root = np.sqrt(16 * d + 4 * curvature * excess)
        r = (root - 4 * np.sqrt(d)) / (2 * curvature)
        error = np.hypot(signal.standard_error / d / root, r**2 * noise.standard_error / d / root)
        return Estimate(float(r), float(error))

    return measure


def _violation(d: int) -> Measure:
    """Measured second moment over E5-loss on the noiseless cone, where the violation is largest."""

    def measure(key) -> Estimate:
        moment = _cone_moment(d, 0.0, 2 * SAMPLES)(key)
        limit = find("E5-loss")(d=d, mu=1.0, L0=1.0, nu=0.0)
        return Estimate(moment.value / limit, moment.standard_error / limit)

    return measure
