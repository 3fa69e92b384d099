"""Negative controls: broken code, a wrong formula, a violated assumption. Each must fail the check it breaks."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from sims.attacks.estimators.estimator import GradientEstimator
from sims.attacks.estimators.table import build_estimator
from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Row, judged, run_check
from sims.verification.instances import SMALL, moment, second_moment
from sims.verification.moment_bounds import TWO
from sims.verification.rules import complaints
from sims.verification.second_moments import varying_noise
from sims.victims.objectives import cone, levels_oracle, linear, noisy_oracle
from sims.victims.oracle import Oracle, averaged, paired
from theory.bound import Bound
from theory.catalogue import find
from theory.symbols import SYMBOLS

D, MU, SIGMA, SAMPLES, Q = SMALL, 0.4, 0.5, 40_000, 8
SLOPE, ORIGIN = np.linspace(0.5, 1.5, D), np.zeros(D)
LENGTH = float(np.linalg.norm(SLOPE))


class Control(NamedTuple):
    """Something wrong, and whether the verification notices: from a key, True where it does."""

    name: str
    noticed: Callable[[jax.Array], bool]


def controls() -> Iterator[Control]:
    """All controls."""
    yield from _broken_estimates()
    yield from _broken_oracles()
    yield from _broken_statements()
    yield from _broken_judgements()


def _fails(check: Check, bound: Bound | None = None) -> Callable[[jax.Array], bool]:
    """Whether the row is measured well enough, and fails."""

    def noticed(key) -> bool:
        verdict = run_check(key, check, bound).verdict
        return verdict.precise and (verdict.violated or verdict.strange)

    return noticed


def _broken_estimates() -> Iterator[Control]:
    steep = noisy_oracle(linear(SLOPE), SIGMA)
    honest = build_estimator("antithetic", MU, 1)
    quarter = moment("alignment", _changed(honest, lambda g: 0.25 * g), steep, ORIGIN, SLOPE, SAMPLES)
    yield Control(
        "an estimator that returns a quarter of the gradient",
        _fails(Check("E1-alignment", "linear", {"grad_mu": LENGTH}, quarter)),
    )
    across = jnp.asarray(np.resize([1.0, -1.0], D) / SLOPE, jnp.float32)
    across = 0.3 * LENGTH * across / jnp.linalg.norm(across)
    leaning = moment("squared_bias", _changed(honest, lambda g: g + across), steep, ORIGIN, ORIGIN, 4 * SAMPLES)
    yield Control("a bias across the gradient", _fails(Check("E1-norm", "linear", {"grad_mu": LENGTH}, leaning)))
    signs = second_moment("antithetic", 1, MU, noisy_oracle(linear(SLOPE), 0.0), ORIGIN, SAMPLES, "rademacher")
    values = {"d": D, "mu": MU, "V": 0.0, "grad": LENGTH}
    yield Control("the Gaussian law for Rademacher directions", _fails(Check("E3-antithetic", "linear", values, signs)))


def _broken_oracles() -> Iterator[Control]:
    quiet, noise = noisy_oracle(linear(ORIGIN), SIGMA), {"d": D, "mu": MU, "V": SIGMA**2}
    fresh = second_moment("antithetic", 1, MU, paired(quiet), ORIGIN, SAMPLES)
    yield Control(
        "defence randomness shared within a pair", _fails(Check("E2-noise-antithetic", "zero loss", noise, fresh))
    )
    fewer = second_moment("antithetic", 1, MU, averaged(quiet, 4), ORIGIN, SAMPLES // 4)
    yield Control(
        "answers averaged over four draws unawares", _fails(Check("E2-noise-antithetic", "zero loss", noise, fewer))
    )
    pool = varying_noise(D)
    values = {"q": Q, "grad_mu": float(np.linalg.norm(pool.gradient)), "M": pool.single("antithetic")}
    shared = second_moment("antithetic", Q, MU, _one_draw_a_side(pool.oracle), pool.point, SAMPLES)
    yield Control(
        "one draw for all probes on either side", _fails(Check("E2-shared", "saddle, shift pool", values, shared))
    )
    curved = second_moment("antithetic", 1, MU, noisy_oracle(cone(D, 1.0), 0.0), 0.1 * SLOPE, SAMPLES)
    values = {"d": D, "mu": MU, "V": 0.0, "grad": 1.0}
    yield Control("the quadratic law on a cone", _fails(Check("E3-antithetic", "cone near its tip", values, curved)))
    steep = second_moment("antithetic", 1, MU, noisy_oracle(linear(1.5 * SLOPE), 0.0), ORIGIN, 2 * SAMPLES)
    values = {"d": D, "mu": MU, "L0": LENGTH, "V": 0.0}
    yield Control("a loss half as steep again as its L₀", _fails(Check("E4-antithetic", "linear", values, steep)))


def _broken_statements() -> Iterator[Control]:
    d, mu, v, delta = (SYMBOLS[name].symbol for name in ("d", "mu", "V", "Delta"))
    quiet = noisy_oracle(linear(ORIGIN), SIGMA)
    measure, noise = second_moment("antithetic", 1, MU, quiet, ORIGIN, 4 * SAMPLES), {"d": D, "mu": MU, "V": SIGMA**2}
    for name, expression in (("√d", sympy.sqrt(d) * v / (2 * mu**2)), ("d²", d**2 * v / (2 * mu**2))):
        broken = replace(find("E2-noise-antithetic"), expr=expression)
        check = Check("E2-noise-antithetic", "zero loss", noise, measure)
        yield Control(f"noise with {name} in place of d", _fails(check, broken))
    spread = float(np.ptp(TWO))
    levels = second_moment("antithetic", 1, MU, levels_oracle(linear(ORIGIN), TWO), ORIGIN, SAMPLES)
    check = Check("E4-noise", "two losses", {"d": D, "mu": MU, "Delta": spread}, levels, 1.0)
    loose = replace(find("E4-noise"), expr=d * delta**2 / (7 * mu**2))
    yield Control("a constant that is too large where the bound is reached", _fails(check, loose))


def _broken_judgements() -> Iterator[Control]:
    check = Check("E2-noise-forward", "zero loss", {"d": D, "mu": MU, "V": SIGMA**2}, _nothing)
    limit = find(check.label)(**check.values)

    def rows(key, inflation: float, bound: Bound) -> list[Row]:
        """Two hundred measurements around the exact value, their standard errors as large as they are, or inflated."""
        error = 0.001 * limit
        values = limit + error * np.asarray(jax.random.normal(key, (200,)), float)
        return [judged(check, Estimate(float(value), inflation * error), bound) for value in values]

    def complains(key, about: str, inflation: float, bound: Bound) -> bool:
        return any(about in line for line in complaints(rows(key, inflation, bound)))

    honest = find(check.label)
    yield Control(
        "standard errors three times too large", lambda key: complains(key, "standard errors are wrong", 3.0, honest)
    )
    one_sided = replace(honest, sense="upper")
    yield Control(
        "an equality that is declared an upper bound",
        lambda key: complains(key, "reached on every row", 1.0, one_sided),
    )


def _nothing(key) -> Estimate:
    raise AssertionError("the rows of this check are made, not measured")


def _changed(estimator: GradientEstimator, change: Callable) -> GradientEstimator:
    return estimator._replace(combine=lambda points, values: change(estimator.combine(points, values)))


def _one_draw_a_side(oracle: Oracle) -> Oracle:
    """The defence drawn once for all + probes of an estimate and once for all − probes."""

    def draw(key, n):
        return jnp.repeat(oracle.draw(key, 2), n // 2)

    return oracle._replace(draw=draw)
