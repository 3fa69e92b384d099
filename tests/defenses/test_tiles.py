"""Tiles: every tile in use is forwarded once, by its own function, and one that is not in use costs nothing."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from defenses import tiles
from defenses.tiles import Tiles

ROWS = jnp.array([[4, 1], [0, 0], [2, 3], [5, 5]])
FILLED = jnp.array([[True, True], [False, False], [True, True], [True, False]])
KINDS = jnp.array([0, 1, 1, 0])


def test_each_tile_in_use_is_answered_by_its_own_function():
    values = jnp.arange(6.0)
    functions = [lambda i, rows: values[rows], lambda i, rows: 10 * values[rows] + i]
    got = jax.jit(lambda: tiles.forward(Tiles(ROWS, FILLED), KINDS, functions))()
    assert np.array_equal(got, [[4, 1], [0, 0], [22, 32], [5, 5]])


def test_a_tile_that_is_not_in_use_is_not_forwarded():
    seen = Counter()

    def counted(name):
        def function(i, rows):
            jax.debug.callback(lambda: seen.update([name]))
            return rows

        return function

    jax.block_until_ready(jax.jit(lambda: tiles.forward(Tiles(ROWS, FILLED), KINDS, [counted("a"), counted("b")]))())
    jax.effects_barrier()
    assert seen == {"a": 2, "b": 1}


def test_gradients_go_through_the_tiles_in_use_alone():
    def total(values):
        made = tiles.forward(
            Tiles(ROWS, FILLED), KINDS, [lambda i, rows: values[rows], lambda i, rows: values[rows] ** 2]
        )
        return jnp.sum(jnp.where(FILLED, made, 0))

    assert np.array_equal(jax.grad(total)(jnp.arange(6.0)), [0, 1, 4, 6, 1, 1])
