"""Steps of the ZO methods on a linear loss: their directions, their updates, and what they cost."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.attack import Threat
from sims.attacks.ball import distance
from sims.attacks.score.zo_adam import adaptive_momentum
from sims.attacks.table import build_attack, read_attack
from tests.sims.attacks.linear_loss import CLEAN, EPSILON, KEY, SIZE, answered, driven, linear

ZO = ["spsa", "rgf", "zo-sgd", "zo-sign-sgd", "zo-adam"]


def zo(name):
    """21 asks with 3 directions; steps of 0.4 · 0.5."""
    threat = Threat("linf" if name == "zo-adam" else "l2", 0.5, 500)
    step = "learning_rate=0.001" if name == "zo-sgd" else "step_fraction=0.4"
    return driven(f"{name}:num_directions=3,smoothing_radius=0.01,{step}", threat, 21)


@pytest.mark.parametrize("name", ZO)
def test_steps_go_downhill(name):
    """On a linear loss the estimate is Σ ⟨c, u⟩u / q and never points uphill."""
    states, _ = zo(name)
    losses = linear(states.image[~states.probing])
    assert losses[-1] < losses[0] - 0.1
    if name in ("rgf", "zo-sgd"):
        assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("name", ["rgf", "zo-sgd", "zo-sign-sgd", "zo-adam"])
def test_the_baseline_is_the_check(name):
    """q + 1 queries a step, the first of them the clean image, and no image twice."""
    states, queries = zo(name)
    assert queries.needed.sum(axis=1).tolist() == [1, 3] * 10 + [1]
    assert np.array_equal(queries.images[0, 0], CLEAN)
    rows = queries.images[queries.needed]
    assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) == 1 + 10 * (3 + 1)
    for check in range(2, 21, 2):
        assert np.array_equal(queries.images[check, 0], states.image[check])
        assert np.isclose(states.value[check], linear(states.image[check][None])[0])


def directions_and_slopes(queries):
    """Of the first step: the directions of the probes and the forward differences along them."""
    probes = queries.images[1].astype(float)
    return (probes - CLEAN) / 0.01, (linear(probes) - linear(CLEAN[None])) / 0.01


def test_zo_sgd_descends_the_forward_estimate_at_its_own_length():
    states, queries = zo("zo-sgd")
    directions, slopes = directions_and_slopes(queries)
    assert np.allclose(states.image[1] - CLEAN, -0.001 * np.tensordot(slopes, directions, axes=1) / 3, atol=2e-5)
    lengths = np.linalg.norm(directions.reshape(3, -1), axis=1)
    assert not np.allclose(lengths, math.sqrt(SIZE), rtol=1e-2)  # Gaussian, not on a sphere


@pytest.mark.parametrize("name", ["rgf", "zo-sign-sgd", "zo-adam"])
def test_a_step_along_directions_on_the_sphere(name):
    states, queries = zo(name)
    directions, slopes = directions_and_slopes(queries)
    assert np.allclose(np.linalg.norm(directions.reshape(3, -1), axis=1), math.sqrt(SIZE), rtol=1e-3)
    gradient = np.tensordot(slopes, directions, axes=1)
    step = {
        "rgf": gradient / np.linalg.norm(gradient),
        "zo-sign-sgd": np.sign(gradient) / math.sqrt(SIZE),
        "zo-adam": 0.1 / math.sqrt(0.7) * np.sign(gradient),
    }[name]
    assert np.allclose(states.image[1] - CLEAN, -0.2 * step, atol=1e-3)


def test_spsa_begins_with_a_step_by_signs():
    states, queries = zo("spsa")
    assert np.allclose(np.abs(queries.images[0] - CLEAN), 0.01, atol=1e-6)
    assert np.allclose(np.abs(states.image[0] - CLEAN), 0.2 / math.sqrt(SIZE), rtol=1e-2)


def test_adaptive_momentum_against_hand_values():
    rule = adaptive_momentum(0.9, 0.3)
    state, m, v, largest = rule.init(jnp.zeros(2)), 0.0, 1e-7, 1e-7
    for gradient in ([2.0, -1.0], [0.5, 0.1], [-3.0, 0.0]):
        g = np.array(gradient)
        m, v = 0.9 * m + 0.1 * g, 0.3 * v + 0.7 * g**2
        largest = np.maximum(largest, v)
        update: Any
        update, state = rule.update(jnp.array(gradient), state)
        assert np.allclose(update, m / np.sqrt(largest), rtol=1e-5)


@pytest.mark.parametrize("name", ["rgf", "zo-adam", "bandits-td"])
def test_flat_and_huge_losses_leave_valid_images(name):
    norm = "linf" if name == "zo-adam" else "l2"
    attack = build_attack(
        read_attack(f"{name}:{'grid=2' if name == 'bandits-td' else 'num_directions=2'}"), Threat(norm, EPSILON)
    )

    @jax.jit
    def run(values):
        def step(state, value):
            return answered(attack, state, attack.ask(KEY, state), *value), state.image

        return jax.lax.scan(step, attack.init(KEY, jnp.asarray(CLEAN), jnp.asarray(CLEAN)), values)

    jagged = 1e6 * np.random.default_rng(0).choice([-1, 1], size=(5, attack.width))
    for values in (np.ones((5, attack.width)), jagged):
        state, seen = run(jnp.asarray(values, jnp.float32))
        assert np.isfinite(seen).all()
        assert all(np.isfinite(part).all() for part in jax.tree.leaves(state))
        assert distance(norm, state.image, jnp.asarray(CLEAN)) <= EPSILON * (1 + 1e-5)
