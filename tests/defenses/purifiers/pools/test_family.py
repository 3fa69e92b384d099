"""Choices among members, on constant shifts b_k = k: the output at zero *is* the assignment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.defense import Defense
from defenses.purifiers.pools import family as families
from defenses.purifiers.pools.shift import shift_family

K, ROWS, SIDE, PATCH = 5, 6000, 8, 4


def purified(defense, keys, images):
    return np.asarray(jax.jit(defense.apply)(defense.params, keys, images))


def outputs(family, images):
    """Of all members, (K, rows, height, width, channels)."""

    def stacked(params, images):
        return families.outputs(family._replace(params=params), images)

    return np.asarray(jax.jit(stacked)(family.params, images))


def levels(size=K):
    return shift_family(jnp.broadcast_to(jnp.arange(size, dtype=jnp.float32)[:, None, None, None], (size, 8, 8, 1)))


def assignments(defense, seed=0):
    """Assigned members of the four patches, (rows, 4), after checking that a patch has only one."""
    keys = jax.random.split(jax.random.key(seed), ROWS)
    out = purified(defense, keys, np.zeros((ROWS, SIDE, SIDE, 1), np.float32))
    patches = out.reshape(ROWS, 2, PATCH, 2, PATCH).transpose(0, 1, 3, 2, 4).reshape(ROWS, 4, -1)
    assert (patches == patches[..., :1]).all()
    return patches[..., 0].astype(int)


def deviation(draws, cells):
    """The χ² statistic against the uniform law as a standard normal deviate (Wilson and Hilferty, 1931)."""
    observed, expected = np.bincount(draws, minlength=cells), len(draws) / cells
    freedom = cells - 1
    statistic = ((observed - expected) ** 2 / expected).sum()
    return ((statistic / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / np.sqrt(2 / (9 * freedom))


def test_patchwise_members_are_uniform_and_pairwise_independent():
    drawn = assignments(families.patchwise_choice(levels(), PATCH))
    for p in range(4):
        assert deviation(drawn[:, p], K) < 4
        for q in range(p):
            assert deviation(drawn[:, p] * K + drawn[:, q], K**2) < 4


def test_image_wise_members_are_uniform_and_shared_by_all_patches():
    drawn = assignments(families.random_choice(levels()))
    assert (drawn == drawn[:, :1]).all()
    assert deviation(drawn[:, 0], K) < 4


def test_the_statistic_catches_a_shared_and_a_biased_draw():
    shared = assignments(families.random_choice(levels()))
    assert deviation(shared[:, 0] * K + shared[:, 1], K**2) > 4
    fair = assignments(families.random_choice(levels()))[:, 0]
    biased = np.where(np.arange(ROWS) % 20 == 0, 0, fair)
    assert deviation(biased, K) > 4


def test_image_wise_is_patchwise_with_one_patch_and_local_with_one(purifiers, row_keys, held_out):
    """Up to rounding: members see their own images in other batches."""
    images = held_out.images[:64]
    whole = purified(families.random_choice(purifiers), row_keys, images)
    for choice in (families.patchwise_choice, families.local_choice):
        np.testing.assert_allclose(purified(choice(purifiers, SIDE), row_keys, images), whole, atol=2e-6)


def test_a_local_patch_is_its_members_output_on_that_patch_alone(purifiers, row_keys, held_out):
    images = held_out.images[:64]
    got = purified(families.local_choice(purifiers, PATCH), row_keys, images)
    for row, column in ((0, 0), (0, PATCH), (PATCH, 0), (PATCH, PATCH)):
        patch = np.s_[row : row + PATCH, column : column + PATCH]
        candidates = outputs(purifiers, images[:, *patch])
        distance = np.abs(got[:, *patch] - candidates).max(axis=(2, 3, 4))
        assert (distance.min(axis=0) < 2e-6).all()
        assert len(np.unique(distance.argmin(axis=0))) > 4
    whole = purified(families.patchwise_choice(purifiers, PATCH), row_keys, images)
    assert np.abs(whole - got).max() > 1e-3  # the seams: no pixel beyond the patch is seen


def test_patches_are_cut_from_full_image_outputs_bit_for_bit(purifiers, row_keys, held_out):
    images = held_out.images[:64]
    got = purified(families.patchwise_choice(purifiers, 2), row_keys, images)
    candidates = outputs(purifiers, images)
    same = (got == candidates).reshape(8, 64, 4, 2, 4, 2).all((3, 5))
    assert same.any(0).all()
    assert same[:, :, 1, 1].argmax(0).std() > 0


def test_outputs_stack_the_members(purifiers, row_keys, held_out):
    images, keys = held_out.images[:64], row_keys
    stacked = outputs(purifiers, images)
    assert stacked.shape == (8, 64, 8, 8, 1)
    for k in range(purifiers.size):
        np.testing.assert_allclose(purified(families.member(purifiers, k), keys, images), stacked[k], atol=2e-6)
    np.testing.assert_allclose(purified(families.average(purifiers), keys, images), stacked.mean(0), atol=2e-6)


def test_members_are_those_chosen(purifiers, held_out):
    images, chosen = held_out.images[:64], np.array([6, 0, 3])
    three = families.members(purifiers, chosen)
    assert three.size == 3
    np.testing.assert_allclose(outputs(three, images), outputs(purifiers, images)[chosen], atol=2e-6)


def test_names_and_flags():
    pool = levels()
    made = [families.member(pool, 2), families.average(pool), families.random_choice(pool)]
    made += [families.patchwise_choice(pool, 4), families.local_choice(pool, 4)]
    assert all(isinstance(defense, Defense) for defense in made)
    assert [defense.name for defense in made] == [
        "shift-2",
        "average-shift",
        "random-shift",
        "patchwise-shift",
        "local-shift",
    ]
    assert [defense.randomized for defense in made] == [False, False, True, True, True]


def test_shift_family_moves_by_its_shifts():
    shifts = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 1)), jnp.float32)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2, 2, 1)), jnp.float32)
    assert np.array_equal(families.outputs(shift_family(shifts), images), images + shifts[:, None])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: families.members(levels(), np.array([], int)), "members must lie in 0..4, got \\[\\]"),
        (lambda: families.members(levels(), np.array([1, 5])), "members must lie in 0..4, got \\[1, 5\\]"),
        (lambda: families.members(levels(), np.array([-1])), "members must lie in 0..4, got \\[-1\\]"),
        (lambda: families.member(levels(), 5), "k must lie in 0..4, got 5"),
        (lambda: families.patchwise_choice(levels(), 0), "patch_size must be >= 1, got 0"),
        (lambda: families.local_choice(levels(), 0), "patch_size must be >= 1, got 0"),
        (lambda: assignments(families.local_choice(levels(), 3)), "patch_size must divide .* 8×8, got 3"),
        (lambda: assignments(families.patchwise_choice(levels(), 3)), "patch_size must divide .* 8×8, got 3"),
        (lambda: shift_family(jnp.zeros((3, 8, 8))), "shifts must have shape"),
        (lambda: shift_family(jnp.zeros((0, 8, 8, 1))), "shifts must have shape"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
