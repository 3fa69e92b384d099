"""The estimate of the pairs that one member answered: by hand, and beside the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.estimators.estimator import antithetic
from sims.attacks.estimators.identifying import identifying, matched
from sims.attacks.table import read_attack

D, K, PAIRS, REPEATS, RADIUS = 20, 4, 40, 60, 0.01
SLOPE = np.random.default_rng(0).normal(size=D).astype(np.float32)
LEVELS = np.array([0.0, 4.0, 9.0, 20.0], np.float32)


def answers(points, member):
    return jnp.asarray(points @ SLOPE + LEVELS[member])


def test_matched_pairs_by_hand():
    levels = jnp.array([0.0, 10.0, 0.0, 10.0005])
    up, down = jnp.array([0.1, 9.8, 0.2, -1.0]), jnp.array([-0.1, 10.2, 9.9, 11.0])
    assert matched(levels, up, down).tolist() == [True, True, False, False]


def test_answers_far_from_every_level_are_nobodys():
    """The member at 30 was not seen: its pairs are left out, though both ends are nearest to the level 10."""
    levels, near = jnp.array([0.0, 10.0, 0.0]), jnp.array([0.1, 9.9, 0.05, 10.1, -0.1, 0.02])
    up, down = jnp.append(near, 30.1), jnp.append(-near + 2 * jnp.round(near / 10) * 10, 29.9)
    assert matched(levels, up, down).tolist() == [True] * 6 + [False]


def test_the_estimate_is_the_mean_over_the_matched_pairs():
    estimator = identifying(RADIUS, PAIRS, REPEATS)
    directions = estimator.directions(jax.random.key(0), (D,))
    points = np.asarray(estimator.points(jnp.full(D, 0.3), directions))
    member = np.random.default_rng(1).integers(0, K, len(points))
    found = estimator.combine(jnp.asarray(points), answers(points, member))
    same = member[REPEATS : REPEATS + PAIRS] == member[REPEATS + PAIRS :]
    u = np.asarray(directions, np.float64)[same]
    expected = ((u @ SLOPE)[:, None] * u).mean(axis=0)
    assert 0 < same.sum() < PAIRS
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_no_pair_gives_no_step():
    estimator = identifying(RADIUS, 2, 2)
    points = estimator.points(jnp.zeros(D), estimator.directions(jax.random.key(0), (D,)))
    values = jnp.array([0.0, 10.0, 0.0, 0.1, 10.0, 9.9])
    np.testing.assert_array_equal(estimator.combine(points, values), 0)


def test_its_error_is_free_of_the_defences_noise_and_the_plain_one_is_not():
    """V = 56: the plain error is dV/(2μ²) ≫ (d+1)‖a‖²; the identifying one (d+1)K‖a‖²/n to leading order."""
    rng, errors = np.random.default_rng(2), {"plain": [], "identifying": []}
    plain, telling = antithetic(RADIUS, PAIRS), identifying(RADIUS, PAIRS, REPEATS)
    for i in range(200):
        for name, estimator in (("plain", plain), ("identifying", telling)):
            points = estimator.points(jnp.zeros(D), estimator.directions(jax.random.key(i), (D,)))
            values = answers(np.asarray(points), rng.integers(0, K, len(points)))
            errors[name].append(float(jnp.sum((estimator.combine(points, values) - SLOPE) ** 2)))
    leading = (D + 1) * K * float(SLOPE @ SLOPE) / PAIRS
    assert np.mean(errors["identifying"]) == pytest.approx(leading, rel=0.3)
    assert np.mean(errors["plain"]) > 1000 * leading


def test_bad_settings():
    with pytest.raises(ValueError, match="repeats must be >= 2, got 1"):
        identifying(RADIUS, PAIRS, 1)
    assert read_attack("identify:repeats=20").settings.repeats == 20
