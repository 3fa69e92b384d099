"""Every row through a member of its own at the cost of one: rows sorted by member, in tiles of one member each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from defenses import tiles
from defenses.tiles import Tiles

TILE = 16  # rows at most; fewer where a member has fewer on average


class Group(NamedTuple):
    """`size` purifiers of one architecture; purify: (one's params, (n, h, w, c)) -> (n, h, w, c), row by row.

    together: whether all members are best asked at once, under `vmap`; convolutions are slow so on a CPU.
    """

    purify: Callable[[PyTree, Float[Array, "n h w c"]], Float[Array, "n h w c"]]
    size: int
    together: bool = True


def tile_of(rows: int, members: int) -> int:
    """Rows of a tile: the power of two next below those that a member has on average, in 1..TILE."""
    return 1 << min(TILE, max(1, rows // members)).bit_length() - 1


class Layout(NamedTuple):
    """Tiles with rows of one member each; that member; and the place of every row among all places of the tiles."""

    tiles: Tiles
    member: Int[Array, " tiles"]
    place: Int[Array, " n"]


def by_member(assignment: Int[Array, " n"], members: int, tile: int) -> Layout:
    """The layout of rows assigned to members 0..members−1: at most one partial tile a member."""
    count = len(assignment)
    most = min(count, (count + min(members, count) * (tile - 1)) // tile)
    rows_of = jnp.bincount(assignment, length=members)
    tiles_of = -(-rows_of // tile)
    first_row, first_tile = (jnp.cumsum(counts) - counts for counts in (rows_of, tiles_of))
    order = jnp.argsort(assignment, stable=True)
    member = jnp.minimum(jnp.searchsorted(jnp.cumsum(tiles_of), jnp.arange(most), side="right"), members - 1)
    within = (jnp.arange(most) - first_tile[member])[:, None] * tile + jnp.arange(tile)
    rows = order[jnp.minimum(first_row[member][:, None] + within, count - 1)]
    chosen = assignment[order]
    place = first_tile[chosen] * tile + jnp.arange(count) - first_row[chosen]
    return Layout(
        Tiles(rows, within < rows_of[member][:, None]), member, jnp.zeros(count, place.dtype).at[order].set(place)
    )


def dispatched(
    groups: Sequence[Group], params: Sequence[PyTree], assignment: Int[Array, " n"], images: Float[Array, "n h w c"]
) -> Float[Array, "n h w c"]:
    """What member assignment[i] makes of image i, (n, h, w, c) float32; differentiable in params and images.

    params: of every group, as `PurifierFamily` has them; its members are numbered through the groups.
    """
    sizes = [group.size for group in groups]
    layout = by_member(assignment, sum(sizes), tile_of(len(images), sum(sizes)))
    first = np.cumsum([0, *sizes[:-1]])
    group_of = jnp.asarray(np.repeat(np.arange(len(sizes)), sizes))

    def purifier(group, mine, start):
        # gathered before the loop: a slice by the loop's counter costs nothing, one by anything else much
        of_tile = jax.tree.map(lambda leaf: leaf[jnp.clip(layout.member - start, 0, group.size - 1)], mine)

        def purify(number, rows):
            return group.purify(jax.tree.map(lambda leaf: leaf[number], of_tile), images[rows])

        return purify

    purifiers = [purifier(*one) for one in zip(groups, params, first, strict=True)]
    purified = tiles.forward(layout.tiles, group_of[layout.member], purifiers)
    return purified.reshape(-1, *images.shape[1:])[layout.place]
