"""E5: the recalled form on the instance that breaks it, and the sound form in its place."""

import math
from collections.abc import Iterator

import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.instances import LARGE, SMALL, second_moment
from sims.verification.moment_bounds import (
    MU,
    SAMPLES,
    SPREAD,
    V,
    antithetic_noise,
    forward_noise,
    share,
    two_losses,
)
from sims.victims.objectives import cone, levels_oracle, linear, pool_oracle
from theory.catalogue import find

ON_THE_CONE = {SMALL: 4 * SAMPLES[SMALL], LARGE: SAMPLES[LARGE]}


def checks() -> Iterator[Check]:
    """Rows of E5."""
    for d in (SMALL, LARGE):
        yield from _sound(d)
    for times in (0.0, 0.5, 8.0):
        yield from _on_the_cone(SMALL, times)
    yield from _on_the_cone(LARGE, 8.0)
    yield Check("E5-threshold", "cone, d = 3", {"d": 3}, _threshold(3))
    yield from _by_image(SMALL)
    yield from _by_image(LARGE)


def _sound(d: int) -> Iterator[Check]:
    """Two equally likely losses Δ apart, forward and antithetic."""
    for one in two_losses(d):
        squared = one.objective.lipschitz**2
        values = {"d": d, "mu": MU, "L0": one.objective.lipschitz, "Delta": SPREAD}
        bound = d * (squared * (d + 2) + SPREAD**2 / (2 * MU**2))
        ways = (("forward", one.forward, forward_noise(d, V)), ("antithetic", one.antithetic, antithetic_noise(d, V)))
        for name, signal, noise in ways:
            measure = second_moment(name, 1, MU, one.oracle, np.zeros(d), SAMPLES[d])
            known = share(signal, squared, noise, bound)
            yield Check("E5-sound", f"{one.name}, {name}", values, measure, known, slow=d > SMALL or known is None)


def _recalled(d: int, ratio: float) -> float:
    """The recalled form over dL₀², ratio = ν/(μL₀)."""
    return (2 * ratio + math.sqrt(d)) ** 2


def _on_the_cone(d: int, times: float) -> Iterator[Check]:
    """The recalled form at ν that many times its threshold, below which it fails, and by how much it fails."""
    threshold = 4 / (math.sqrt(16 * d + 28) + 4 * math.sqrt(d))
    ratio, spread = times * threshold, times * threshold * MU
    oracle = levels_oracle(cone(d, 1.0), np.array([-1, 1]) * spread / 2)
    measure = second_moment("forward", 1, MU, oracle, np.zeros(d), ON_THE_CONE[d])
    values, known = {"d": d, "mu": MU, "L0": 1.0, "nu": spread}, (d + 2 + ratio**2 / 2) / _recalled(d, ratio)
    name = f"cone, two losses, ν at {times:g} × threshold" + _large(d)
    yield Check("E5-loss", name, values, measure, known, slow=d > SMALL)
    yield Check("E5-factor", name, {"d": d}, _over_recalled(measure, values), known / (1 + 2 / d), slow=d > SMALL)


def _by_image(d: int) -> Iterator[Check]:
    """The image-level readings on a linear loss behind two shifts along its slope."""
    slope = np.full(d, 2.0)
    lipschitz, shift = float(np.linalg.norm(slope)), 0.05 * np.ones(d)
    oracle = pool_oracle(linear(slope), np.stack([shift, -shift]))
    measure = second_moment("forward", 1, MU, oracle, np.zeros(d), SAMPLES[d])
    diversity = float(2 * np.linalg.norm(shift))
    exact = (d + 2) * lipschitz**2 + forward_noise(d, float(slope @ shift) ** 2)
    recalled = d * _recalled(d, diversity / MU)
    image, name = {"d": d, "mu": MU, "nu": diversity}, "linear, two shifts along the slope" + _large(d)
    by_image = exact / (lipschitz**2 * recalled)
    yield Check("E5-image", name, image | {"L0f": lipschitz, "L0m": 1.0}, measure, by_image, slow=d > SMALL)
    if d == SMALL:
        yield Check("E5-mixed", name, image | {"L0": 1.0}, measure, exact / recalled)


def _large(d: int) -> str:
    """What tells the name of a row at the large dimension."""
    return f", d = {d}" if d > SMALL else ""


def _over_recalled(moment: Measure, values: dict[str, float]) -> Measure:
    """Measured second moment over E5-loss."""

    def measure(key) -> Estimate:
        measured, limit = moment(key), find("E5-loss")(**values)
        return Estimate(measured.value / limit, measured.standard_error / limit)

    return measure


def _threshold(d: int) -> Measure:
    """The r at which the measured moment d(s + n r²) meets d(4r² + 4r√d + d), s and n measured apart."""

    def measure(key) -> Estimate:
        origin = np.zeros(d)
        quiet = levels_oracle(cone(d, 1.0), np.zeros(1))
        unit = levels_oracle(linear(origin), np.array([-0.5, 0.5]))
        signal = second_moment("forward", 1, 1.0, quiet, origin, 4 * SAMPLES[SMALL])(key)
        noise = second_moment("forward", 1, 1.0, unit, origin, SAMPLES[SMALL])(key)
        excess, curvature = signal.value / d - d, 4 - noise.value / d
        root = np.sqrt(16 * d + 4 * curvature * excess)
        r = (root - 4 * np.sqrt(d)) / (2 * curvature)
        error = np.hypot(signal.standard_error / d / root, r**2 * noise.standard_error / d / root)
        return Estimate(float(r), float(error))

    return measure
