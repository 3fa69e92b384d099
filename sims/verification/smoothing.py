"""S1–S3 on functions whose constants are known: how far smoothing moves a function and its gradient."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure, sampled
from sims.victims.objectives import Objective, cone, diagonal_quadratic, log_sum_exp, ridge

D, MU, SAMPLES = 12, 0.3, 40_000


def checks() -> Iterator[Check]:
    """Rows of S1–S3; the cone, the ridge and the round quadratic sit on their bounds."""
    origin = np.zeros(D, np.float32)
    point = np.linspace(-1, 1, D).astype(np.float32)
    soft = log_sum_exp(D, 2.0)
    kinked = [(cone(D, 1.5), origin), (ridge(D, 1.5), origin), (soft, point)]
    for objective, x in kinked:
        values = {"d": D, "mu": MU, "L0": objective.lipschitz}
        yield Check("S1-lipschitz", objective.name, values, value_shift(objective, x, MU, SAMPLES))
        yield Check("S1-sharp", objective.name, values, value_shift(objective, x, MU, SAMPLES))
        yield Check(
            "S3-lipschitz", objective.name, {"mu": MU, "L0": objective.lipschitz}, slope_of_gradient(objective, x)
        )
        yield Check("S3-textbook", objective.name, values, slope_of_gradient(objective, x))
    round_quadratic = diagonal_quadratic(np.full(D, 0.8), np.ones(D))
    for objective in (round_quadratic, soft):
        values = {"d": D, "mu": MU, "L1": objective.smoothness}
        yield Check("S1-smooth", objective.name, values, value_shift(objective, point, MU, SAMPLES))
        yield Check("S2-gradient", objective.name, values, gradient_shift(objective, point))
        yield Check("S2-textbook", objective.name, values, gradient_shift(objective, point))


def value_shift(objective: Objective, x: np.ndarray, mu: float, samples: int, batch: int = 20_000) -> Measure:
    """F_μ(x) − F(x), from symmetric pairs ½(F(x+μu) + F(x−μu)) − F(x); `batch` of them in one evaluation."""

    def statistic(key):
        step = mu * jax.random.normal(key, x.shape)
        here, up, down = objective.value(jnp.stack([jnp.asarray(x), x + step, x - step]))
        return (up + down) / 2 - here

    return sampled(statistic, samples, batch)


def gradient_shift(objective: Objective, x: np.ndarray) -> Measure:
    """‖∇F_μ(x) − ∇F(x)‖ along the direction that independent samples point to: at most the norm."""

    def difference(key):
        step, here = MU * jax.random.normal(key, x.shape), jnp.asarray(x)
        return (objective.gradient(here + step) + objective.gradient(here - step)) / 2 - objective.gradient(here)

    def measure(key) -> Estimate:
        pilot_key, key = jax.random.split(key)
        pilot = jnp.mean(jax.jit(jax.vmap(difference))(jax.random.split(pilot_key, SAMPLES // 4)), axis=0)
        direction = pilot / jnp.maximum(jnp.linalg.norm(pilot), 1e-12)
        return sampled(lambda k: jnp.dot(direction, difference(k)), SAMPLES)(key)

    return measure


def slope_of_gradient(objective: Objective, x: np.ndarray) -> Measure:
    """e₁ᵀ∇²F_μ(x)e₁ = E[∂₁F(x+μu) u₁]/μ, a lower estimate of the Lipschitz constant of ∇F_μ."""

    def statistic(key):
        u = jax.random.normal(key, x.shape)
        return objective.gradient(jnp.asarray(x) + MU * u)[0] * u[0] / MU

    return sampled(statistic, SAMPLES)
