"""Projected gradient descent on the pixels, on a linear classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.training.adversarial import Adversary, adversary, ascent

IMAGES = jnp.asarray(np.random.default_rng(0).uniform(size=(100, 4, 4, 1)), jnp.float32)
IMAGES = IMAGES.at[:, 0].set(0).at[:, 1].set(1)  # on the border of the box
WEIGHTS = jnp.asarray(np.random.default_rng(1).normal(size=(16, 3)), jnp.float32)
LABELS = jnp.asarray(np.random.default_rng(2).integers(0, 3, 100), jnp.int32)


def logits(images):
    return jnp.tanh(images.reshape(len(images), -1)) @ WEIGHTS


def perturbed(attack, key=0):
    climber = ascent(lambda _, moved: logits(moved), attack)
    return np.asarray(climber.perturbed(None, jax.random.key(key), IMAGES, LABELS))


def entropy(images):
    return -np.asarray(jax.nn.log_softmax(logits(images)))[np.arange(100), LABELS]


@pytest.mark.parametrize("epsilon", [8, 64])
def test_it_stays_in_ball_and_box_and_raises_the_loss(epsilon):
    moved = perturbed(adversary(epsilon))
    distance = np.abs(moved - np.asarray(IMAGES))
    assert distance.max() <= epsilon / 255 + 1e-6
    assert distance.max() > 0.9 * epsilon / 255
    assert (moved.min(), moved.max()) == (0, 1)
    noise = perturbed(Adversary(epsilon, 0, 1))
    assert (entropy(moved) > entropy(IMAGES)).mean() > 0.95
    assert (entropy(moved) - entropy(IMAGES)).mean() > 3 * np.abs(entropy(noise) - entropy(IMAGES)).mean()


def test_it_is_its_formula():
    radius, key = 8 / 255, jax.random.key(4)
    moved = np.asarray(IMAGES) + np.asarray(jax.random.uniform(key, IMAGES.shape, jnp.float32, -radius, radius))
    moved = np.clip(moved, 0, 1)
    for _ in range(2):
        gradient = jax.grad(lambda x: jnp.sum(-jax.nn.log_softmax(logits(x))[jnp.arange(100), LABELS]))(moved)
        moved = np.clip(moved + 3 / 255 * np.sign(gradient), IMAGES - radius, IMAGES + radius)
        moved = np.clip(moved, 0, 1)
    assert (np.abs(perturbed(Adversary(8, 3, 2), 4) - moved) < 1e-6).mean() > 0.999


def test_the_random_start_follows_the_key():
    assert np.array_equal(perturbed(adversary(8), 0), perturbed(adversary(8), 0))
    assert not np.array_equal(perturbed(adversary(8), 0), perturbed(adversary(8), 1))


@pytest.mark.parametrize("epsilon", [0, -8, 256, float("nan")])
def test_radii_out_of_range(epsilon):
    with pytest.raises(ValueError, match=r"adversarial_epsilon must lie in \(0, 255\]"):
        adversary(epsilon)
