"""What Boundary and HopSkipJump are made of: segments, steps on the sphere, directions from labels, cheap noise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.ball import distance
from sims.attacks.decision.boundary import on_sphere
from sims.attacks.decision.closest import Closest, distance_of, uniform_noise
from sims.attacks.decision.hop_skip_jump import Probes, added, direction
from sims.attacks.score.segment import middle, narrowed, point

SIDE, COUNT = 8, 12
D, SHAPE = SIDE**2, (SIDE, SIDE, 1)
RNG = np.random.default_rng(2)
CLEAN, OTHER = RNG.uniform(0, 1, (2, COUNT, *SHAPE)).astype(np.float32)
NORMAL = RNG.normal(size=SHAPE).astype(np.float32)
NORMAL /= np.linalg.norm(NORMAL)
SIGNS = np.sign(RNG.normal(size=CLEAN.shape)).astype(np.float32)


def test_points_of_a_segment_by_hand():
    clean, end = jnp.array([0.5, 0.5, 0.5]), jnp.array([0.9, 0.4, 0.5])
    length, share = jnp.float32(0.4), jnp.float32(0.25)
    assert np.allclose(point("l2", clean, end, length, share), [0.6, 0.475, 0.5])
    assert np.allclose(point("linf", clean, end, length, share), [0.6, 0.4, 0.5])
    low = jnp.float32(0)
    for fooled, expected in ((True, 0.0), (False, 0.5), (True, 2 / 3)):
        low = narrowed(low, jnp.array(fooled))
        assert np.isclose(low, expected)
    assert np.isclose(middle(low), 5 / 6)


def test_the_step_on_the_sphere():
    closest = Closest(
        jnp.asarray(CLEAN), jnp.asarray(CLEAN + 0.1 * NORMAL), jnp.full(COUNT, 0.1), jnp.zeros(COUNT, bool)
    )
    moved = np.asarray(jax.jit(jax.vmap(on_sphere, (0, None, 0)))(closest, 0.3, SIGNS)) - CLEAN
    tangent = SIGNS - (SIGNS * NORMAL).sum(axis=(1, 2, 3), keepdims=True) * NORMAL
    tangent /= np.linalg.norm(tangent.reshape(COUNT, D), axis=1)[:, None, None, None]
    assert np.allclose(moved, 0.1 * (NORMAL + 0.3 * tangent) / math.sqrt(1 + 0.3**2), atol=1e-6)


def cosine(offset: float, noise: float, size: int, runs: int) -> np.ndarray:
    """Of the estimate with the normal, at `offset` (in standard deviations of a probe's height) off the boundary."""
    rng = np.random.default_rng(7)
    probes = np.sign(rng.normal(size=(runs, size, *SHAPE))).astype(np.float32)
    heights = np.sum(probes * NORMAL, axis=(2, 3, 4))
    fooled = heights + offset * math.sqrt(1 + noise**2) + noise * rng.normal(size=heights.shape) > 0

    def one(moved, fooled):
        def add(probes, answer):
            return added(probes, *answer), None

        zero = jnp.zeros(SHAPE)
        sums, _ = jax.lax.scan(add, Probes(zero, zero, jnp.float32(0), jnp.int32(size)), (moved, fooled))
        return jnp.sum(direction("l2", sums) * NORMAL)

    return np.asarray(jax.jit(jax.vmap(one))(probes, fooled))


@pytest.mark.parametrize(("offset", "noise"), [(0.0, 0.0), (0.0, 1.5), (1.0, 0.0)])
def test_the_direction_has_the_cosine_of_theory_d1(offset, noise):
    """D1 with a/S = 1/√(1+noise²); centring by the mean m leaves 1 − m² of the answers' variance."""
    size, runs = 40, 2000
    mean = math.erf(offset / math.sqrt(2))
    signal = 2 / math.sqrt(1 + noise**2) * math.exp(-(offset**2) / 2) / math.sqrt(2 * math.pi)
    expected = signal / math.sqrt(signal**2 + (1 - mean**2 - signal**2 / D) * D / size)
    got = cosine(offset, noise, size, runs)
    assert abs(got.mean() - expected) < 4 * got.std() / math.sqrt(runs) + 2 * expected / D


def test_noise_is_uniform_and_its_pixels_are_uncorrelated():
    drawn = np.asarray(
        jax.jit(jax.vmap(lambda key: uniform_noise(key, SHAPE)))(jax.random.split(jax.random.key(0), 4000))
    )
    pixels = drawn.reshape(len(drawn), D)
    error = 4 / math.sqrt(len(drawn))
    for level in (0.1, 0.25, 0.5, 0.9):
        assert (abs((pixels < level).mean(axis=0) - level) < error * math.sqrt(level * (1 - level)) * 1.2).all()
    assert (abs(np.corrcoef(pixels.T) - np.eye(D)) < 1.3 * error).all()
    assert abs(pixels.std(axis=1) - math.sqrt(1 / 12)).max() < 0.06  # every image has the spread of noise


def test_distances_are_those_of_the_ball():
    for norm in ("l2", "linf"):
        assert distance_of(norm, OTHER[0], CLEAN[0]) == distance(norm, OTHER[0], CLEAN[0])
        assert distance_of(norm, OTHER[0], OTHER[0]) == 0
