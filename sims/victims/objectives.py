"""Certified instances: functions on R^d whose Lipschitz constants are known exactly, and random oracles on them.

They stand where a classifier's loss stands: `value` is F̄ or f on a batch of points (n, d).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sims.victims.oracle import Answer, Oracle

Points = Float[Array, "n d"]


class Objective(NamedTuple):
    """A function with its constants.

    value: points (n, d) -> (n,). gradient: one point (d,) -> (d,).
    lipschitz, smoothness: L₀ and L₁, infinite when they do not exist.
    """

    name: str
    dimension: int
    value: Callable[[Points], Float[Array, " n"]]
    gradient: Callable[[Float[Array, " d"]], Float[Array, " d"]]
    lipschitz: float
    smoothness: float


def linear(slope: Float[np.ndarray, " d"]) -> Objective:
    """⟨c, x⟩: L₀ = ‖c‖, L₁ = 0."""
    c = jnp.asarray(slope, jnp.float32)
    return Objective(
        "linear", len(slope), lambda x: jnp.sum(x * c, axis=-1), lambda x: c, float(np.linalg.norm(slope)), 0.0
    )


def quadratic(hessian: Float[np.ndarray, "d d"], slope: Float[np.ndarray, " d"]) -> Objective:
    """½xᵀHx + cᵀx with a symmetric H: L₁ = ‖H‖, not Lipschitz."""
    h, c = jnp.asarray(hessian, jnp.float32), jnp.asarray(slope, jnp.float32)

    def value(x):
        return jnp.sum(x * (0.5 * jnp.matmul(x, h, precision="highest") + c), axis=-1)

    return Objective(
        "quadratic", len(slope), value, lambda x: h @ x + c, math.inf, float(np.abs(np.linalg.eigvalsh(hessian)).max())
    )


def diagonal_quadratic(curvatures: Float[np.ndarray, " d"], slope: Float[np.ndarray, " d"]) -> Objective:
    """½Σ h_i x_i² + cᵀx: the quadratic in its eigenbasis, at O(d) a value."""
    h, c = jnp.asarray(curvatures, jnp.float32), jnp.asarray(slope, jnp.float32)
    return Objective(
        "diagonal quadratic",
        len(slope),
        lambda x: jnp.sum(x * (0.5 * h * x + c), axis=-1),
        lambda x: h * x + c,
        math.inf,
        float(np.abs(curvatures).max()),
    )


def cone(dimension: int, lipschitz: float) -> Objective:
    """L₀‖x‖."""

    def gradient(x):
        return lipschitz * x / jnp.linalg.norm(x)

    return Objective(
        "cone", dimension, lambda x: lipschitz * jnp.sqrt(jnp.sum(x**2, axis=-1)), gradient, lipschitz, math.inf
    )


def ridge(dimension: int, lipschitz: float) -> Objective:
    """L₀|x₁|."""

    def gradient(x):
        return jnp.zeros(dimension).at[0].set(lipschitz * jnp.sign(x[0]))

    return Objective("ridge", dimension, lambda x: lipschitz * jnp.abs(x[:, 0]), gradient, lipschitz, math.inf)


def log_sum_exp(dimension: int, sharpness: float) -> Objective:
    """log Σ exp(s x_i) / s: L₀ = 1, L₁ = s/2 (the Hessian s(diag p − ppᵀ) has norm at most s/2)."""

    def value(x):
        return jax.nn.logsumexp(sharpness * x, axis=-1) / sharpness

    return Objective("log-sum-exp", dimension, value, lambda x: jax.nn.softmax(sharpness * x), 1.0, sharpness / 2)


def cubic(dimension: int, slope: float, third: float) -> Objective:
    """Σ (c x_i + κ x_i³/6): the instance on which direction laws differ at second order in μ."""

    def value(x):
        return jnp.sum(slope * x + third * x**3 / 6, axis=-1)

    return Objective("cubic", dimension, value, lambda x: slope + third * x**2 / 2, math.inf, math.inf)


def noisy_oracle(objective: Objective, deviation: float) -> Oracle:
    """Answers F̄(x) + σξ with fresh ξ ~ N(0, 1): loss-level variance V = σ² everywhere. σ in loss units, >= 0."""

    def query(deviation, keys, points, labels):
        noise = jax.vmap(jax.random.normal)(keys)
        value = objective.value(points) + deviation * noise
        return Answer(value, value < 0)

    return Oracle("loss", jnp.float32(deviation), query, jax.random.split, 1)


def two_valued_oracle(objective: Objective, spread: float) -> Oracle:
    """Answers F̄(x) ± Δ/2 with a fair sign: two equally likely losses Δ apart, V = Δ²/4. Δ in loss units, >= 0."""

    def query(spread, keys, points, labels):
        up = jax.vmap(jax.random.bernoulli)(keys)
        value = objective.value(points) + jnp.where(up, spread / 2, -spread / 2)
        return Answer(value, value < 0)

    return Oracle("loss", jnp.float32(spread), query, jax.random.split, 1)


def pool_oracle(objective: Objective, shifts: Float[np.ndarray, "k d"]) -> Oracle:
    """Answers f(x + b_k) with a fresh uniform k: a pool of the purifiers x ↦ x + b_k."""

    def query(shifts, keys, points, labels):
        members = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(shifts)))(keys)
        value = objective.value(points + shifts[members])
        return Answer(value, value < 0)

    return Oracle("loss", jnp.asarray(shifts, jnp.float32), query, jax.random.split, 1)
