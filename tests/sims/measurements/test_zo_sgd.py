"""Zeroth-order descent: exact trajectories, the exact second-moment recursion, independent chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.estimators.table import build_estimator
from sims.measurements.zo_sgd import descend
from sims.victims.objectives import diagonal_quadratic, linear, noisy_oracle

KEY, D, H, ETA, STEPS = jax.random.key(9), 6, 1.5, 0.05, 12
SLOPE = np.arange(1.0, D + 1)
START = np.linspace(-1, 1, D).astype(np.float32)


def positions(x):
    return x


def squared_length(x):
    return jnp.sum(x**2, axis=-1)


def walk(oracle, estimator, chains=3, observe=positions, key=KEY, steps=STEPS, step_size=ETA):
    start = jnp.broadcast_to(START, (chains, D))
    return np.asarray(descend(key, estimator, oracle, start, 0, step_size, steps, observe), float)


@pytest.mark.parametrize("name", ["antithetic", pytest.param("forward-shared", marks=pytest.mark.slow)])
def test_a_full_basis_on_a_linear_loss_is_gradient_descent(name):
    seen = walk(noisy_oracle(linear(SLOPE), 0.0), build_estimator(name, 0.5, D, "orthogonal"))
    expected = START - ETA * np.arange(STEPS + 1)[:, None] * SLOPE
    assert seen.shape == (STEPS + 1, 3, D)
    assert np.allclose(seen, expected[:, None], atol=1e-3)


def test_a_full_basis_on_a_quadratic_contracts_geometrically():
    oracle = noisy_oracle(diagonal_quadratic(np.full(D, H), np.zeros(D)), 0.0)
    seen = walk(oracle, build_estimator("antithetic", 0.5, D, "orthogonal"))
    rates = (1 - ETA * H) ** np.arange(STEPS + 1)
    assert np.allclose(seen, rates[:, None, None] * START, atol=1e-4)


MU, V = 0.3, 0.2
NOISE = {
    "antithetic": D * V / (2 * MU**2),
    "forward": MU**2 * H**2 * D * (D + 2) * (D + 4) / 4 + 2 * D * V / MU**2,
}
NOISE["forward-shared"] = NOISE["forward"]


def recursion(noise: float, q: int) -> np.ndarray:
    """C1: e ← ρ e + η²B/q with ρ = 1 − 2ηh + η²h²(1 + (d+1)/q)."""
    contraction = 1 - 2 * ETA * H + ETA**2 * H**2 * (1 + (D + 1) / q)
    errors = [float(START @ START)]
    for _ in range(STEPS):
        errors.append(contraction * errors[-1] + ETA**2 * noise / q)
    return np.array(errors)


@pytest.mark.parametrize(
    ("name", "q"),
    [
        ("antithetic", 1),
        pytest.param("forward", 4, marks=pytest.mark.slow),
        ("forward-shared", 4),
    ],
)
def test_mean_square_follows_the_exact_recursion(name, q):
    oracle = noisy_oracle(diagonal_quadratic(np.full(D, H), np.zeros(D)), np.sqrt(V))
    seen = walk(oracle, build_estimator(name, MU, q), chains=12_000, observe=squared_length)
    mean, error = seen.mean(axis=1), seen.std(axis=1) / np.sqrt(seen.shape[1])
    truth = recursion(NOISE[name], q)
    assert (error <= 0.02 * truth).all()
    assert (abs(mean - truth) <= 4 * error + 1e-5).all()
    for broken in (recursion(NOISE[name] * 1.2, q), recursion(NOISE[name], q + 1)):
        assert (abs(mean - broken) > 4 * error).any()


def test_chains_are_independent_streams_that_ignore_their_neighbours():
    oracle, estimator = noisy_oracle(linear(SLOPE), 0.5), build_estimator("forward", 0.1, 2)
    many, few = walk(oracle, estimator, chains=8), walk(oracle, estimator, chains=2)
    assert np.allclose(many[:, :2], few, atol=1e-5)
    assert len(np.unique(many[-1], axis=0)) == 8
    assert not np.allclose(few, walk(oracle, estimator, chains=2, key=jax.random.key(10)), atol=0.1)


def test_steps_are_fresh_draws_and_a_longer_walk_extends_a_shorter_one():
    oracle, estimator = noisy_oracle(linear(SLOPE), 0.5), build_estimator("antithetic", 0.1, 1)
    seen = walk(oracle, estimator)
    moves = np.diff(seen[:, 0], axis=0)
    assert len(np.unique(moves.round(5), axis=0)) == STEPS
    assert np.allclose(walk(oracle, estimator, steps=5), seen[:6], atol=1e-5)
    assert np.allclose(seen[0], START)


def test_images_keep_their_shape_and_the_step_may_be_zero():
    slope = jnp.asarray(SLOPE, jnp.float32).reshape(3, 2)
    oracle = noisy_oracle(linear(SLOPE), 0.0)
    shaped = oracle._replace(
        query=lambda params, keys, rows, labels: oracle.query(params, keys, rows.reshape(len(rows), -1), labels)
    )
    estimator = build_estimator("antithetic", 0.5, D, "orthogonal")
    start = jnp.zeros((2, 3, 2))
    seen = descend(KEY, estimator, shaped, start, 0, 0.1, 1, positions)
    assert np.allclose(seen[1], -0.1 * slope, atol=1e-4)
    assert (descend(KEY, estimator, shaped, start, 0, 0.0, 1, positions) == 0).all()
