"""Waiting rows in fixed tiles through an oracle: one compilation serves a full batch and the last straggler."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from defenses import tiles
from defenses.tiles import Tiles
from sims.victims.oracle import Answer, Oracle


def rows_to_forward(waiting: Bool[Array, " rows"], tile: int, limit: int) -> Int[Array, ""]:
    """How many rows to forward now: whole tiles up to `limit`, or all of them when they do not fill one."""
    total = jnp.sum(waiting)
    return jnp.where(total >= tile, jnp.minimum(total // tile * tile, limit), total)


def answer_rows(
    oracle: Oracle,
    tile: int,
    keys: Key[Array, " rows"],
    images: Float[Array, "rows ..."],
    labels: Int[Array, "rows ..."],
    waiting: Bool[Array, " rows"],
    take: Int[Array, ""],
    answers: Answer,
) -> tuple[Answer, Bool[Array, " rows"], Int[Array, ""]]:
    """Answer the first `take` waiting rows.

    Returns the answers with those rows filled in, the mask of those rows, and how many rows only filled a tile.
    """
    count = len(waiting)
    order = jnp.pad(jnp.argsort(~waiting, stable=True), (0, -count % tile)).reshape(-1, tile)
    filled = (jnp.arange(order.size) < take).reshape(order.shape)

    def query(number, rows):
        return oracle.query(oracle.params, keys[rows], images[rows], labels[rows])

    layout = Tiles(order, filled)
    fresh = tiles.forward(layout, jnp.zeros(len(order), jnp.int32), [query])
    place = jnp.where(filled, order, count)
    answers = jax.tree.map(lambda kept, new: kept.at[place].set(new, mode="drop"), answers, fresh)
    done = jnp.zeros_like(waiting).at[place].set(True, mode="drop")
    return answers, done, jnp.sum(layout.used) * tile - take
