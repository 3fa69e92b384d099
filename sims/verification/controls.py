"""Negative controls: broken code, a wrong power of d, a violated assumption. Each must fail the check it breaks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import sympy

from sims.attacks.estimators.estimator import GradientEstimator, build_estimator
from sims.measurements.gradient_moments import gradient_moments
from sims.verification.check import Check, run_check
from sims.verification.instances import second_moment
from sims.victims.objectives import cone, linear, noisy_oracle
from sims.victims.oracle import Oracle, averaged, paired
from theory.bound import Bound
from theory.catalogue import find
from theory.symbols import SYMBOLS

D, MU, SIGMA, SAMPLES = 12, 0.4, 0.5, 40_000
SLOPE, ORIGIN = np.linspace(0.5, 1.5, D), np.zeros(D)


class Control(NamedTuple):
    """A check that must not hold; `bound` replaces the statement where the statement itself is broken."""

    name: str
    check: Check
    bound: Bound | None = None


def controls() -> Iterator[Control]:
    """All controls."""
    norm = float(np.linalg.norm(SLOPE))
    oracle, noise = noisy_oracle(linear(SLOPE), SIGMA), {"d": D, "mu": MU, "V": SIGMA**2}
    quiet = noisy_oracle(linear(ORIGIN), SIGMA)
    quarter = _moments(_scaled(build_estimator("antithetic", MU, 1), 0.25), oracle, SLOPE, "alignment")
    yield Control(
        "an estimator that returns a quarter of the gradient",
        Check("E1-alignment", "linear", {"grad_mu": norm}, quarter),
    )
    d, mu, v = (SYMBOLS[name].symbol for name in ("d", "mu", "V"))
    measure = second_moment("antithetic", 1, MU, quiet, ORIGIN, SAMPLES)
    for name, expression in (("√d", sympy.sqrt(d) * v / (2 * mu**2)), ("d²", d**2 * v / (2 * mu**2))):
        broken = replace(find("E2-noise-antithetic"), expr=expression)
        yield Control(
            f"noise with {name} in place of d", Check("E2-noise-antithetic", "zero loss", noise, measure), broken
        )
    fresh = second_moment("antithetic", 1, MU, paired(quiet), ORIGIN, SAMPLES)
    yield Control("defence randomness shared within a pair", Check("E2-noise-antithetic", "zero loss", noise, fresh))
    fewer = second_moment("antithetic", 1, MU, averaged(quiet, 4), ORIGIN, SAMPLES // 4)
    yield Control("answers averaged over four draws unawares", Check("E2-noise-antithetic", "zero loss", noise, fewer))
    curved = second_moment("antithetic", 1, MU, noisy_oracle(cone(D, 1.0), 0.0), 0.1 * SLOPE, SAMPLES)
    values = noise | {"V": 0.0, "grad": 1.0}
    yield Control("the quadratic law on a cone", Check("E3-antithetic", "cone near its tip", values, curved))
    signs = _moments(
        build_estimator("antithetic", MU, 1, "rademacher"), noisy_oracle(linear(SLOPE), 0.0), SLOPE, "second_moment"
    )
    yield Control(
        "the Gaussian law for Rademacher directions", Check("E3-antithetic", "linear", values | {"grad": norm}, signs)
    )
    steep = second_moment("antithetic", 1, MU, noisy_oracle(linear(3 * SLOPE), 0.0), ORIGIN, SAMPLES)
    values = {"d": D, "mu": MU, "L0": norm, "V": 0.0}
    yield Control("a loss three times steeper than its L₀", Check("E4-antithetic", "linear", values, steep))


def caught(key: jax.Array, control: Control) -> bool:
    """Whether the verdict on the broken check is that it is violated."""
    return run_check(key, control.check, control.bound).verdict.violated


def _scaled(estimator: GradientEstimator, factor: float) -> GradientEstimator:
    return estimator._replace(combine=lambda points, values: factor * estimator.combine(points, values))


def _moments(estimator: GradientEstimator, oracle: Oracle, reference: np.ndarray, statistic: str):
    def measure(key):
        x, along = ORIGIN.astype(np.float32), reference.astype(np.float32)
        return getattr(gradient_moments(key, estimator, oracle, x, 0, along, SAMPLES), statistic)

    return measure
