"""Certified instances: functions on R^d whose Lipschitz constants are known exactly, and random oracles on them.

They stand where a classifier's loss stands. Formulas are functions of a function's constants and of points, so that
what was compiled for one function, or for one oracle on it, serves all of its kind.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sims.victims.oracle import Answer, Oracle

Points = Float[Array, "n d"]
Point = Float[Array, " d"]


class Objective(NamedTuple):
    """A function with what is known of it.

    constants: arrays, the first argument of the two formulas. formula: (constants, points (n, d)) -> (n,).
    slope: (constants, one point (d,)) -> (d,), its gradient.
    lipschitz, smoothness: L₀ and L₁, infinite when they do not exist.
    """

    name: str
    dimension: int
    constants: Any
    formula: Callable[[Any, Points], Float[Array, " n"]]
    slope: Callable[[Any, Point], Point]
    lipschitz: float
    smoothness: float

    def value(self, points: Points) -> Float[Array, " n"]:
        """The function at every point."""
        return self.formula(self.constants, points)

    def gradient(self, point: Point) -> Point:
        """The gradient at one point."""
        return self.slope(self.constants, point)


def linear(slope: Float[np.ndarray, " d"]) -> Objective:
    """⟨c, x⟩: L₀ = ‖c‖, L₁ = 0."""
    c, length = jnp.asarray(slope, jnp.float32), float(np.linalg.norm(slope))
    return Objective("linear", len(slope), c, _linear, _linear_slope, length, 0.0)


def _linear(c, x):
    return jnp.sum(x * c, axis=-1)


def _linear_slope(c, x):
    return c


def quadratic(hessian: Float[np.ndarray, "d d"], slope: Float[np.ndarray, " d"]) -> Objective:
    """½xᵀHx + cᵀx with a symmetric H: L₁ = ‖H‖, not Lipschitz."""
    constants = jnp.asarray(hessian, jnp.float32), jnp.asarray(slope, jnp.float32)
    norm = float(np.abs(np.linalg.eigvalsh(hessian)).max())
    return Objective("quadratic", len(slope), constants, _quadratic, _quadratic_slope, math.inf, norm)


def _quadratic(constants, x):
    h, c = constants
    return jnp.sum(x * (0.5 * jnp.matmul(x, h, precision="highest") + c), axis=-1)


def _quadratic_slope(constants, x):
    h, c = constants
    return h @ x + c


def diagonal_quadratic(curvatures: Float[np.ndarray, " d"], slope: Float[np.ndarray, " d"]) -> Objective:
    """½Σ h_i x_i² + cᵀx: the quadratic in its eigenbasis, at O(d) a value."""
    constants = jnp.asarray(curvatures, jnp.float32), jnp.asarray(slope, jnp.float32)
    steepest = float(np.abs(curvatures).max())
    return Objective("diagonal quadratic", len(slope), constants, _diagonal, _diagonal_slope, math.inf, steepest)


def _diagonal(constants, x):
    h, c = constants
    return jnp.sum(x * (0.5 * h * x + c), axis=-1)


def _diagonal_slope(constants, x):
    h, c = constants
    return h * x + c


def cone(dimension: int, lipschitz: float) -> Objective:
    """L₀‖x‖."""
    return Objective("cone", dimension, jnp.float32(lipschitz), _cone, _cone_slope, lipschitz, math.inf)


def _cone(lipschitz, x):
    return lipschitz * jnp.sqrt(jnp.sum(x**2, axis=-1))


def _cone_slope(lipschitz, x):
    return lipschitz * x / jnp.linalg.norm(x)


def ridge(dimension: int, lipschitz: float) -> Objective:
    """L₀|x₁|."""
    return Objective("ridge", dimension, jnp.float32(lipschitz), _ridge, _ridge_slope, lipschitz, math.inf)


def _ridge(lipschitz, x):
    return lipschitz * jnp.abs(x[:, 0])


def _ridge_slope(lipschitz, x):
    return jnp.zeros(x.shape).at[0].set(lipschitz * jnp.sign(x[0]))


def bent_slope(dimension: int, scale: float) -> Objective:
    """s·x₁‖x‖, whose gradient turns as fast as it may: L₁ = 2s, not Lipschitz."""
    return Objective("x₁‖x‖", dimension, jnp.float32(scale), _bent, _bent_slope, math.inf, 2 * scale)


def _bent(scale, x):
    return scale * x[:, 0] * jnp.sqrt(jnp.sum(x**2, axis=-1))


def _bent_slope(scale, x):
    length = jnp.sqrt(jnp.sum(x**2))
    return scale * (x[0] * x / jnp.maximum(length, 1e-30)).at[0].add(length)


def log_sum_exp(dimension: int, sharpness: float) -> Objective:
    """log Σ exp(s x_i) / s: L₀ = 1, L₁ = s/2 (the Hessian s(diag p − ppᵀ) has norm at most s/2)."""
    s = jnp.float32(sharpness)
    return Objective("log-sum-exp", dimension, s, _log_sum_exp, _log_sum_exp_slope, 1.0, sharpness / 2)


def _log_sum_exp(sharpness, x):
    return jax.nn.logsumexp(sharpness * x, axis=-1) / sharpness


def _log_sum_exp_slope(sharpness, x):
    return jax.nn.softmax(sharpness * x)


def cubic(dimension: int, slope: float, third: float) -> Objective:
    """Σ (c x_i + κ x_i³/6): the instance on which direction laws differ at second order in μ."""
    constants = jnp.float32(slope), jnp.float32(third)
    return Objective("cubic", dimension, constants, _cubic, _cubic_slope, math.inf, math.inf)


def _cubic(constants, x):
    slope, third = constants
    return jnp.sum(slope * x + third * x**3 / 6, axis=-1)


def _cubic_slope(constants, x):
    slope, third = constants
    return slope + third * x**2 / 2


def noisy_oracle(objective: Objective, deviation: float) -> Oracle:
    """Answers F̄(x) + σξ with fresh ξ ~ N(0, 1): loss-level variance V = σ² everywhere. σ in loss units, >= 0."""
    return _oracle(objective, jnp.float32(deviation), _noisy)


def levels_oracle(objective: Objective, levels: Float[np.ndarray, " k"]) -> Oracle:
    """Answers F̄(x) + b_k with a fresh uniform k: losses that differ by constants, of mean 0 and V = mean b_k²."""
    return _oracle(objective, jnp.asarray(levels, jnp.float32), _levelled)


def pool_oracle(objective: Objective, shifts: Float[np.ndarray, "k d"]) -> Oracle:
    """Answers f(x + b_k) with a fresh uniform k: a pool of the purifiers x ↦ x + b_k."""
    return _oracle(objective, jnp.asarray(shifts, jnp.float32), _shifted)


def _oracle(objective: Objective, law: Any, answer: Callable) -> Oracle:
    """An oracle on the objective; law: the numbers of its randomness, of which `answer` makes losses."""
    return Oracle("loss", (objective.constants, law), _query(objective.formula, answer), jax.random.split, 1)


@functools.cache
def _query(formula: Callable, answer: Callable) -> Callable:
    def query(params, keys, points, labels):
        constants, law = params
        value = answer(functools.partial(formula, constants), law, keys, points)
        return Answer(value, value < 0)

    return query


def _noisy(loss, deviation, keys, points):
    return loss(points) + deviation * jax.vmap(jax.random.normal)(keys)


def _levelled(loss, levels, keys, points):
    return loss(points) + levels[_members(keys, len(levels))]


def _shifted(loss, shifts, keys, points):
    return loss(points + shifts[_members(keys, len(shifts))])


def _members(keys, count: int):
    # one draw of bits a key, where `randint` takes three: half the compilation; unequal by 2⁻²³ at most
    return jnp.floor(count * jax.vmap(jax.random.uniform)(keys)).astype(jnp.int32)
