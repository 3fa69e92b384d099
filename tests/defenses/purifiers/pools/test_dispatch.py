"""Dispatch by member against the masked form: all rows through every member in the same tiles, and one picked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses import tiles
from defenses.purifiers.pools import family as families
from defenses.purifiers.pools.convolutional import purify
from defenses.purifiers.pools.dispatch import TILE, by_member, dispatched, tile_of
from defenses.purifiers.pools.family import family_of, joined


def scaled(scale, images):
    return jnp.tanh(scale * images)


def mixed(purifiers):
    """Three purifiers of the trained pool and two of another architecture: members 0..2 and 3..4."""
    return joined(
        "mixed", families.members(purifiers, np.arange(3)), family_of("scaled", jnp.array([0.5, 2.0]), scaled, 2)
    )


def masked(family, params, assignment, images):
    """The same rows in the same tiles through every member, each picked where it is assigned."""
    layout = by_member(assignment, family.size, tile_of(len(images), family.size))
    result, k = images, 0
    for mine, group in zip(params, family.groups, strict=True):
        for i in range(group.size):
            one = jax.tree.map(lambda leaf, i=i: leaf[i], mine)
            all_tiles = jnp.zeros(len(layout.member), jnp.int32)
            out = tiles.forward(layout.tiles, all_tiles, [lambda n, rows, g=group, p=one: g.purify(p, images[rows])])
            chosen = (assignment == k).reshape(-1, 1, 1, 1)
            result, k = jnp.where(chosen, out.reshape(-1, *images.shape[1:])[layout.place], result), k + 1
    return result


def draws(rows, members, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, members, rows), jnp.int32)


@pytest.mark.parametrize(
    ("rows", "members"),
    [(1, 5), pytest.param(3, 5, marks=pytest.mark.slow), pytest.param(16, 5, marks=pytest.mark.slow), (100, 5)],
)
def test_bit_equal_to_the_masked_form(purifiers, held_out, rows, members):
    family, images = mixed(purifiers), jnp.asarray(held_out.images[:rows])
    assignment = draws(rows, members)
    got, expected = (
        jax.jit(lambda params, f=form: f(params))(family.params)
        for form in (
            lambda params: dispatched(family.groups, params, assignment, images),
            lambda params: masked(family, params, assignment, images),
        )
    )
    assert np.array_equal(got, expected)
    assert not np.array_equal(got, images)


ASSIGNMENTS = st.sampled_from([1, 4, 70]).flatmap(lambda n: st.lists(st.integers(0, 4), min_size=n, max_size=n))


@given(ASSIGNMENTS, st.sampled_from([1, 2, 16]))
@settings(max_examples=60, deadline=None)
def test_every_row_has_one_place_in_a_tile_of_its_member(assignment, tile):
    layout = jax.jit(by_member, static_argnums=(1, 2))(jnp.array(assignment), 5, tile)
    rows, filled, place = np.array(layout.tiles.rows), np.array(layout.tiles.filled), np.array(layout.place)
    assert sorted(rows[filled]) == list(range(len(assignment)))
    assert filled.reshape(-1)[place].all()
    assert (rows.reshape(-1)[place] == np.arange(len(assignment))).all()
    assert (np.array(layout.member)[place // tile] == assignment).all()
    counts = np.bincount(assignment, minlength=5)
    assert np.array(layout.tiles.used).sum() == (-(-counts // tile)).sum()


def test_gradients_are_those_of_the_masked_form(purifiers, held_out):
    family, images, assignment = mixed(purifiers), jnp.asarray(held_out.images[:20]), draws(20, 5)

    def total(form):
        return jax.jit(jax.grad(lambda params, x: jnp.sum(jnp.sin(form(params, x))), argnums=(0, 1)))(
            family.params, images
        )

    got = total(lambda params, x: dispatched(family.groups, params, assignment, x))
    expected = total(lambda params, x: masked(family, params, assignment, x))
    for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
        assert np.abs(theirs).max() > 0


def test_tiles_are_as_large_as_a_members_share():
    assert [tile_of(rows, 8) for rows in (1, 8, 16, 24, 64, 4096)] == [1, 1, 2, 2, 8, TILE]
    assert tile_of(2048, 16) == TILE


def test_one_architecture_is_one_group(purifiers):
    assert [group.purify for group in purifiers.groups] == [purify]
