"""Fixed tiles: any number of rows through functions that only ever see exactly `tile` rows, in one compiled shape.

What is made of a row then depends neither on how many rows there are nor on which others, and a tile that is not in use
costs nothing, though their largest number is known when the loop is compiled.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree


class Tiles(NamedTuple):
    """Which rows lie in which tile.

    rows: (tiles, tile) int32, the row at every place; at a place that only fills its tile, any row.
    filled: (tiles, tile), whether a place holds a row of its own. A tile without such a place is not in use.
    """

    rows: Int[Array, "tiles tile"]
    filled: Bool[Array, "tiles tile"]

    @property
    def used(self) -> Bool[Array, " tiles"]:
        """Which tiles are in use."""
        return self.filled[:, 0]


Forward = Callable[[Int[Array, ""], Int[Array, " tile"]], PyTree]


def forward(tiles: Tiles, kinds: Int[Array, " tiles"], functions: Sequence[Forward]) -> PyTree:
    """functions[kinds[i]](i, tiles.rows[i]) for every tile i in use, zeros for the others: leaves (tiles, tile, ...).

    Every function returns the same shapes and dtypes. Can be differentiated in both modes.
    """
    result = jax.eval_shape(functions[0], jnp.int32(0), tiles.rows[0])

    def nothing(number, rows):
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), result)

    def one(_, at):
        number, rows, branch = at
        return None, jax.lax.switch(branch, [nothing, *functions], number, rows)

    branches = jnp.where(tiles.used, kinds + 1, 0)
    return jax.lax.scan(one, None, (jnp.arange(len(branches)), tiles.rows, branches))[1]
