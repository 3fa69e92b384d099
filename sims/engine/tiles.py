"""Fixed tiles: forward any number of waiting rows through an oracle in one compiled shape.

A victim is only ever run on batches of exactly `tile` rows, so an answer does not depend on how many rows wait, and
the number of tiles is a run-time number: one compilation serves a full batch and the last straggler.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

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
    order = jnp.pad(jnp.argsort(~waiting, stable=True), (0, tile))
    outside = len(waiting)

    def forward(i, carry):
        answers, done = carry
        index = jax.lax.dynamic_slice_in_dim(order, i * tile, tile)
        fresh = oracle.query(oracle.params, keys[index], images[index], labels[index])
        place = jnp.where(i * tile + jnp.arange(tile) < take, index, outside)
        answers = jax.tree.map(lambda kept, new: kept.at[place].set(new, mode="drop"), answers, fresh)
        return answers, done.at[place].set(True, mode="drop")

    tiles = -(-take // tile)
    answers, done = jax.lax.fori_loop(0, tiles, forward, (answers, jnp.zeros_like(waiting)))
    return answers, done, tiles * tile - take
