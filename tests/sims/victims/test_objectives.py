"""Certified instances: gradients, Lipschitz constants that are never exceeded and reached, and known variances."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.victims.objectives import (
    bent_slope,
    cone,
    cubic,
    diagonal_quadratic,
    levels_oracle,
    linear,
    log_sum_exp,
    noisy_oracle,
    pool_oracle,
    quadratic,
    ridge,
)

D, RNG = 5, np.random.default_rng(0)
SLOPE, CURVATURES = RNG.normal(size=D), np.array([1.0, -4.0, 2.0, 0.5, 0.0])
HESSIAN = (lambda a: a + a.T)(RNG.normal(size=(D, D)))
EIGENVALUES, EIGENVECTORS = np.linalg.eigh(HESSIAN)
AXIS, ZERO = np.eye(D)[0], np.zeros(D)
DIAGONAL = np.array([1, -1, 0, 0, 0]) / math.sqrt(2)
TWO_LEADERS = np.array([0, 0, -40, -40, -40.0])

OBJECTIVES = {
    "linear": linear(SLOPE),
    "quadratic": quadratic(HESSIAN, SLOPE),
    "diagonal quadratic": diagonal_quadratic(CURVATURES, SLOPE),
    "cone": cone(D, 3.0),
    "ridge": ridge(D, 3.0),
    "x₁‖x‖": bent_slope(D, 1.5),
    "log-sum-exp": log_sum_exp(D, 2.0),
    "cubic": cubic(D, 1.5, 0.7),
}
# where the constant is reached: a point, and the unit step to its partner
STEEPEST = {
    "linear": (ZERO, SLOPE / np.linalg.norm(SLOPE)),
    "cone": (SLOPE, SLOPE / np.linalg.norm(SLOPE)),
    "ridge": (AXIS, AXIS),
    "log-sum-exp": (40 * AXIS, AXIS),
}
MOST_CURVED = {
    "quadratic": (SLOPE, EIGENVECTORS[:, np.argmax(abs(EIGENVALUES))]),
    "diagonal quadratic": (ZERO, np.eye(D)[1]),
    "x₁‖x‖": (AXIS, AXIS),
    "log-sum-exp": (TWO_LEADERS, 0.01 * DIAGONAL),
}


def pairs(scale: float, extremal=None) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs near and far, and the extremal one when given."""
    rng = np.random.default_rng(1)
    x = scale * rng.normal(size=(3000, D))
    y = x + rng.normal(size=x.shape) * 10.0 ** rng.uniform(-1, 1, size=(3000, 1))
    if extremal is not None:
        point, step = extremal
        x, y = np.concatenate([x, point[None]]), np.concatenate([y, (point + step)[None]])
    return x.astype(np.float32), y.astype(np.float32)


def largest_slope(function, x, y) -> float:
    """Largest ‖f(x) − f(y)‖/‖x − y‖."""
    rise = np.asarray(jax.jit(lambda x, y: function(x) - function(y))(x, y), float).reshape(len(x), -1)
    return float((np.linalg.norm(rise, axis=1) / np.linalg.norm(x.astype(float) - y, axis=1)).max())


def gradients(objective):
    return jax.vmap(objective.gradient)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_gradient_is_the_derivative_of_the_value(objective):
    points, _ = pairs(1.0)
    derivative = jax.vmap(jax.grad(lambda x: objective.value(x[None])[0]))
    values, stated, derived = jax.jit(lambda x: (objective.value(x), gradients(objective)(x), derivative(x)))(points)
    assert objective.dimension == D
    assert values.shape == (len(points),)
    assert np.allclose(stated, derived, atol=1e-4)


X = np.array([0.3, -1.2, 0.7, 2.0, -0.4])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("linear", SLOPE @ X),
        ("quadratic", X @ HESSIAN @ X / 2 + SLOPE @ X),
        ("diagonal quadratic", CURVATURES @ X**2 / 2 + SLOPE @ X),
        ("cone", 3 * np.linalg.norm(X)),
        ("ridge", 0.9),
        ("x₁‖x‖", 0.45 * np.linalg.norm(X)),
        ("log-sum-exp", np.log(np.exp(2 * X).sum()) / 2),
        ("cubic", 1.5 * X.sum() + 0.7 * (X**3).sum() / 6),
    ],
)
def test_value_is_the_stated_formula(name, value):
    assert OBJECTIVES[name].value(jnp.asarray(X, jnp.float32)[None])[0] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", STEEPEST)
def test_lipschitz_constant_is_never_exceeded_and_reached(name):
    objective = OBJECTIVES[name]
    assert largest_slope(objective.value, *pairs(1.0)) <= objective.lipschitz * (1 + 1e-4)
    assert largest_slope(objective.value, *pairs(1.0, STEEPEST[name])) == pytest.approx(objective.lipschitz, rel=1e-4)


@pytest.mark.parametrize("name", MOST_CURVED)
def test_smoothness_is_never_exceeded_and_reached(name):
    objective = OBJECTIVES[name]
    assert largest_slope(gradients(objective), *pairs(1.0)) <= objective.smoothness * (1 + 1e-4)
    reached = largest_slope(gradients(objective), *pairs(1.0, MOST_CURVED[name]))
    assert reached == pytest.approx(objective.smoothness, rel=1e-3)


@pytest.mark.parametrize("name", [name for name, objective in OBJECTIVES.items() if objective.lipschitz == math.inf])
def test_no_lipschitz_constant_where_none_is_claimed(name):
    near, far = (largest_slope(OBJECTIVES[name].value, *pairs(scale)) for scale in (1, 1000))
    assert far > 50 * near


@pytest.mark.parametrize("name", [name for name, objective in OBJECTIVES.items() if objective.smoothness == math.inf])
def test_no_smoothness_where_none_is_claimed(name):
    point = {"cubic": 1e4 * AXIS}.get(name, -5e-5 * AXIS)
    step = {"cubic": AXIS}.get(name, 1e-4 * AXIS)
    assert largest_slope(gradients(OBJECTIVES[name]), *pairs(1.0, (point, step))) > 1000


def test_a_linear_function_is_smooth_with_constant_zero():
    objective = OBJECTIVES["linear"]
    assert objective.smoothness == 0 == largest_slope(gradients(objective), *pairs(1.0))


def test_oracles_on_functions_of_one_kind_share_what_is_compiled():
    one, other = noisy_oracle(linear(SLOPE), 0.5), noisy_oracle(linear(2 * SLOPE), 0.1)
    assert one._replace(params=None) == other._replace(params=None)


def answers(oracle, count: int = 40_000):
    @jax.jit
    def asked(params, key, point):
        points = jnp.broadcast_to(point, (count, D))
        return oracle.query(params, oracle.draw(key, count), points, jnp.zeros(count, jnp.int32))

    return asked(oracle.params, jax.random.key(3), np.float32(X))


SHIFTS = RNG.normal(size=(3, D))
POOL = np.sort((X + SHIFTS) @ SLOPE)


@pytest.mark.parametrize(
    ("oracle", "mean", "variance", "levels"),
    [
        (noisy_oracle(OBJECTIVES["linear"], 0.8), SLOPE @ X, 0.64, None),
        (noisy_oracle(OBJECTIVES["linear"], 0.0), SLOPE @ X, 0.0, [SLOPE @ X]),
        (
            levels_oracle(OBJECTIVES["linear"], np.array([-0.3, 0.3])),
            SLOPE @ X,
            0.09,
            [SLOPE @ X - 0.3, SLOPE @ X + 0.3],
        ),
        (pool_oracle(OBJECTIVES["linear"], SHIFTS), POOL.mean(), POOL.var(), POOL),
    ],
    ids=["noise", "no noise", "levels", "pool"],
)
def test_random_oracles_have_the_stated_law(oracle, mean, variance, levels):
    answer = answers(oracle)
    values = np.asarray(answer.value, float)
    n, centred = len(values), values - mean
    error, variance_error = values.std() / np.sqrt(n), (centred**2).std() / np.sqrt(n)
    assert error <= 0.02 * max(1, math.sqrt(variance))
    assert abs(values.mean() - mean) <= 4 * error + 1e-5
    assert variance_error <= 0.02 * variance + 1e-9
    assert abs((centred**2).mean() - variance) <= 4 * variance_error + 1e-5
    assert np.array_equal(answer.fooled, values < 0)
    if levels is not None:
        found, counts = np.unique(values.round(4), return_counts=True)
        assert np.allclose(found, levels, atol=2e-4)
        share = 1 / len(levels)
        assert (abs(counts / n - share) <= 4 * math.sqrt(share * (1 - share) / n)).all()
