"""The loss by hand, its members, and that a member learns what it is taught."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.purifiers.implicit.members import Member, members
from defenses.purifiers.implicit.network import SIZES, purifier
from defenses.purifiers.implicit.training import Recipe, distance, pairs_of, training
from defenses.training.augmentation import random_flip_and_transpose
from defenses.training.trainer import train

RECIPE = Recipe(epsilon=8, images=4, steps=1, batch_size=4, patch_size=2, clean_weight=0.25)
CLEAN, MOVED = np.random.default_rng(0).random((2, 4, 4, 4, 1)).astype(np.float32)


def blurred(images):
    """A stand-in for a member, which sees beyond a pixel: the mean with the pixel to the right, zero at the border."""
    return (images + jnp.pad(images, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]) / 2


def apart(wanted, images, side):
    """Mean absolute difference to what the stand-in makes of every side × side patch alone."""
    total = 0.0
    for y in range(0, 4, side):
        for x in range(0, 4, side):
            patch = images[:, y : y + side, x : x + side]
            right = np.pad(patch, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
            total += np.abs((patch + right) / 2 - wanted[:, y : y + side, x : x + side]).sum()
    return total / wanted.size


def test_the_loss_is_the_papers_on_whole_images_and_on_patches():
    by_hand = 0.0
    for half, side in ((slice(2), 4), (slice(2, 4), 2)):
        clean, moved = CLEAN[half], MOVED[half]
        by_hand += (apart(clean, moved, side) + 0.25 * apart(clean, clean, side)) / 2
    found = float(distance(blurred, RECIPE, jnp.asarray(CLEAN), jnp.asarray(MOVED)))
    assert found == pytest.approx(by_hand, rel=1e-6)
    assert found != pytest.approx(float(distance(blurred, RECIPE, jnp.asarray(MOVED), jnp.asarray(CLEAN))), rel=1e-2)


def test_perturbations_are_stretched_within_the_box_and_by_a_number_of_their_own_for_each_image():
    def loss_with(stretch):
        recipe = replace(RECIPE, stretch=stretch)
        task = training("test", recipe, SIZES["tiny"], pairs_of(np.zeros((4, 4, 4, 1)), np.zeros((4, 4, 4, 1))), 0)
        params = jax.tree.map(jnp.ones_like, task.initial())
        pairs = jnp.concatenate([CLEAN, MOVED], axis=-1)
        twice = jnp.clip(CLEAN + 2 * (MOVED - CLEAN), 0, 1)
        wanted = distance(partial(purifier(SIZES["tiny"], 1), params), recipe, jnp.asarray(CLEAN), twice)
        return float(task.loss(params, jax.random.key(0), pairs, jnp.zeros(4, jnp.int32))[0]), float(wanted)

    assert loss_with((2.0, 2.0))[0] == pytest.approx(loss_with((2.0, 2.0))[1], rel=1e-5)
    assert loss_with((1.0, 2.0))[0] != pytest.approx(loss_with((1.0, 2.0))[1], rel=1e-3)


def test_symmetries_of_a_square_act_on_both_images_of_a_pair():
    """All eight come out, and clean and attacked channels stay together."""
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    pair = np.concatenate([image, 100 + image], axis=-1).repeat(400, axis=0)
    turned = np.asarray(random_flip_and_transpose(jax.random.key(0), jnp.asarray(pair)))
    assert (turned[..., 1] == 100 + turned[..., 0]).all()
    assert len(np.unique(turned[..., 0].reshape(400, -1), axis=0)) == 8


def test_members_differ_in_attack_and_encoder_before_they_repeat():
    pool = members(("a", "b", "c", "d", "e"), ("x", "y", "z"), 16, seed=3)
    assert pool[0] == Member("a", "x", 48)
    assert len({(member.attack, member.size) for member in pool[:15]}) == 15
    assert pool[15] == Member("a", "x", 63)
    assert not {one.seed for one in pool} & {one.seed for one in members(("a",), ("x",), 16, seed=4)}


def test_a_member_learns_to_undo_a_shift(tmp_path):
    """Grey images moved up by 0.2 at every other column; half of the way back is far more than nothing."""
    random = np.random.default_rng(0)
    clean = np.repeat(random.integers(40, 200, (256, 1, 1, 1)), 8, axis=1).repeat(8, axis=2).astype(np.uint8)
    moved = clean + np.where(np.arange(8) % 2, 51, 0).astype(np.uint8)[:, None]
    recipe = Recipe(epsilon=51, images=256, steps=96, batch_size=32, patch_size=4, learning_rate=1e-2)
    task = training("test", recipe, SIZES["tiny"], pairs_of(clean, moved), 0)
    history = train(task, tmp_path / "state")[1]
    assert history[0]["loss"] <= 0.11
    assert history[-1]["loss"] < 0.05
