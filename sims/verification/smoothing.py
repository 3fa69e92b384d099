"""S1–S3 on functions whose constants are known: how far smoothing moves a function and its gradient."""

import math
from collections.abc import Iterator
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure, Statistic, sampled, stream
from sims.verification.instances import LARGE, SMALL, mean_norm
from sims.victims.objectives import Objective, bent_slope, cone, diagonal_quadratic, log_sum_exp, ridge

MU, LIPSCHITZ, HALF_NORMAL = 0.3, 1.5, math.sqrt(2 / math.pi)
SAMPLES = {SMALL: 40_000, LARGE: 8192}
BATCH = {SMALL: 20_000, LARGE: 2048}


def checks() -> Iterator[Check]:
    """Rows of S1–S3; the cone, the ridge and the round quadratic sit on their bounds."""
    for d in (SMALL, LARGE):
        yield from _kinked(d)
        yield from _smooth(d)
    yield from _inside()


def _kinked(d: int) -> Iterator[Check]:
    """The cone and, in a dimension where its mean is soon found, the ridge, at their tips."""
    origin, root, norm = np.zeros(d, np.float32), math.sqrt(d), mean_norm(d)
    objective = cone(d, LIPSCHITZ)
    values = {"d": d, "mu": MU, "L0": LIPSCHITZ}
    shift = value_shift(objective, origin, MU, SAMPLES[d], BATCH[d])
    yield Check("S1-lipschitz", f"cone, d = {d}", values, shift, norm / root, slow=d > SMALL)
    yield Check("S1-sharp", f"cone, d = {d}", values, shift, 1.0, slow=d > SMALL)
    objective = ridge(d, LIPSCHITZ)
    slope = slope_of_gradient(objective, origin, SAMPLES[d], BATCH[d])
    yield Check("S3-textbook", f"ridge, d = {d}", values, slope, HALF_NORMAL / root, slow=d > SMALL)
    if d > SMALL:
        return
    shift = value_shift(objective, origin, MU, 2 * SAMPLES[d])
    yield Check("S1-lipschitz", "ridge", values, shift, HALF_NORMAL / root)
    yield Check("S1-sharp", "ridge", values, shift, HALF_NORMAL / norm)
    yield Check("S3-lipschitz", "ridge", {"mu": MU, "L0": LIPSCHITZ}, slope, 1.0)


def _smooth(d: int) -> Iterator[Check]:
    """The round quadratic, which moves by all of S1 and whose gradient does not, and the one whose gradient does."""
    point, origin = np.linspace(-1, 1, d).astype(np.float32), np.zeros(d, np.float32)
    round_quadratic, bent, size = diagonal_quadratic(np.full(d, 0.8), np.ones(d)), bent_slope(d, 0.7), SAMPLES[d]
    values = {"d": d, "mu": MU, "L1": round_quadratic.smoothness}
    shift = value_shift(round_quadratic, point, MU, size, BATCH[d])
    yield Check("S1-smooth", f"round quadratic, d = {d}", values, shift, 1.0, slow=d > SMALL)
    turned, first = values | {"L1": bent.smoothness}, np.eye(1, d, dtype=np.float32)[0]
    moved = shift_along(bent, origin, first, size, BATCH[d])
    share = mean_norm(d) * (1 + 1 / d) / 2
    yield Check("S2-gradient", f"{bent.name}, d = {d}", turned, moved, share / math.sqrt(d), slow=d > SMALL)
    yield Check("S2-textbook", f"{bent.name}, d = {d}", turned, moved, 2 * share / (d + 3) ** 1.5, slow=d > SMALL)


def _inside() -> Iterator[Check]:
    """Log-sum-exp, well within all bounds, and a quadratic, whose gradient does not move at all."""
    point = np.linspace(-1, 1, SMALL).astype(np.float32)
    soft = log_sum_exp(SMALL, 2.0)
    lipschitz, smooth = (
        {"d": SMALL, "mu": MU, name: c} for name, c in (("L0", soft.lipschitz), ("L1", soft.smoothness))
    )
    shift, slope = value_shift(soft, point, MU, SAMPLES[SMALL]), slope_of_gradient(soft, point, SAMPLES[SMALL])
    for label in ("S1-lipschitz", "S1-sharp"):
        yield Check(label, soft.name, lipschitz, shift)
    yield Check("S3-lipschitz", soft.name, {"mu": MU, "L0": soft.lipschitz}, slope)
    yield Check("S3-textbook", soft.name, lipschitz, slope)
    yield Check("S1-smooth", soft.name, smooth, shift)
    quadratic = diagonal_quadratic(np.linspace(0.2, 0.8, SMALL), np.ones(SMALL))
    for label in ("S2-gradient", "S2-textbook"):
        yield Check(label, soft.name, smooth, gradient_shift(soft, point))
        still = gradient_shift(quadratic, point)
        yield Check(label, quadratic.name, smooth | {"L1": quadratic.smoothness}, still, 0.0)


def value_shift(objective: Objective, x: np.ndarray, mu: float, samples: int, batch: int = 20_000) -> Measure:
    """|F_μ(x) − F(x)|, from symmetric pairs ½(F(x+μu) + F(x−μu)) − F(x); `batch` of them in one evaluation."""

    def measure(key) -> Estimate:
        given = objective.constants, jnp.asarray(x), mu
        shift = sampled(_value_difference(objective.formula), given, samples, batch)(key)
        return Estimate(abs(shift.value), shift.standard_error)

    return measure


@cache
def _value_difference(formula) -> Statistic:
    def statistic(given, key):
        constants, x, mu = given
        step = mu * jax.random.normal(key, x.shape)
        here, up, down = formula(constants, jnp.stack([x, x + step, x - step]))
        return (up + down) / 2 - here

    return statistic


def gradient_shift(objective: Objective, x: np.ndarray) -> Measure:
    """‖∇F_μ(x) − ∇F(x)‖ along the direction that independent samples point to: at most the norm."""

    def measure(key) -> Estimate:
        pilot_key, key = jax.random.split(key)
        given, difference = (objective.constants, jnp.asarray(x)), _gradient_difference(objective.slope)
        pilot = stream(pilot_key, difference, given, SAMPLES[SMALL] // 4, 2000).mean.astype(np.float32)
        direction = pilot / max(float(np.linalg.norm(pilot)), 1e-12)
        return shift_along(objective, x, direction, SAMPLES[SMALL])(key)

    return measure


def shift_along(
    objective: Objective, x: np.ndarray, direction: np.ndarray, samples: int, batch: int = 20_000
) -> Measure:
    """⟨∇F_μ(x) − ∇F(x), direction⟩."""
    given = objective.constants, jnp.asarray(x), jnp.asarray(direction)
    return sampled(_difference_along(objective.slope), given, samples, batch)


@cache
def _gradient_difference(slope) -> Statistic:
    def statistic(given, key):
        constants, here = given
        step = MU * jax.random.normal(key, here.shape)
        return (slope(constants, here + step) + slope(constants, here - step)) / 2 - slope(constants, here)

    return statistic


@cache
def _difference_along(slope) -> Statistic:
    difference = _gradient_difference(slope)

    def statistic(given, key):
        constants, here, direction = given
        return jnp.dot(direction, difference((constants, here), key))

    return statistic


def slope_of_gradient(objective: Objective, x: np.ndarray, samples: int, batch: int = 20_000) -> Measure:
    """e₁ᵀ∇²F_μ(x)e₁ = E[∂₁F(x+μu) u₁]/μ, a lower estimate of the Lipschitz constant of ∇F_μ."""
    return sampled(_curvature(objective.slope), (objective.constants, jnp.asarray(x)), samples, batch)


@cache
def _curvature(slope) -> Statistic:
    def statistic(given, key):
        constants, x = given
        u = jax.random.normal(key, x.shape)
        return slope(constants, x + MU * u)[0] * u[0] / MU

    return statistic
