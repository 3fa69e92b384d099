"""N-evaluation: how often a final image fools the victim over fresh draws of its defence.

What an attack claims under its stopping rule is one draw, chosen by the attack; a defence that answers at random is
judged by fresh ones: their average, and the worst of N. An answer that is not finite has fooled nobody.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from sims.checkpoint import fingerprint
from sims.host_victim import NO_CLASS, HostOracle, identity, read_replies
from sims.oracle import Answer, Oracle, fools, known


def times_fooled(
    key: Key[Array, ""],
    oracle: Oracle,
    images: Float[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    draws: int,
    tile: int,
) -> Int[np.ndarray, " n"]:
    """(n,) in how many of `draws` >= 1 fresh draws each image (float32 in [0, 1]) fools the victim.

    labels: as the oracle takes them. tile: rows per forward pass; the one of the attack, so that a deterministic
    victim answers with the bits that the attack saw.
    """
    count = -(-len(images) // tile) * tile
    rows = np.minimum(np.arange(count), len(images) - 1)  # the last tile repeats the last image
    tiles = (-1, tile)
    fooled = _times_fooled(
        oracle._replace(params=None),
        draws,
        oracle.params,
        key,
        jnp.asarray(images)[rows].reshape(*tiles, *images.shape[1:]),
        jnp.asarray(labels, jnp.int32)[rows].reshape(tiles),
    )
    return np.asarray(fooled).reshape(-1)[: len(images)]


def times_fooled_on_host(
    oracle: HostOracle, images: Float[np.ndarray, "n h w c"], labels: Int[np.ndarray, " n"], draws: int, rows: int
) -> Int[np.ndarray, " n"]:
    """The same of a victim on the host with feedback "label", asked for at most `rows` images a call.

    A victim that remembers the names of requests gives fresh draws where the oracle's `run` is a new one.
    """
    counts = np.zeros(len(images), np.int64)
    for draw in range(draws):
        for i in range(0, len(images), rows):
            batch = np.asarray(images[i : i + rows], np.float32)
            request = fingerprint("evaluation", identity(oracle), draw, i, batch)
            predicted = read_replies(oracle, oracle.victim(batch, request), len(batch))
            fooled = fools(jnp.asarray(predicted), jnp.asarray(labels[i : i + rows]), oracle.targeted)
            counts[i : i + rows] += np.asarray(fooled) & (predicted != NO_CLASS)
    return counts


def _count(oracle: Oracle, draws: int, params, key, images, labels):
    tile = images.shape[1]

    def one_draw(counts, draw):
        def forward(i):
            keys = oracle.draw(jax.random.fold_in(jax.random.fold_in(key, draw), i), tile)
            return _fooled(oracle.query(params, keys, images[i], labels[i]))

        return counts + jax.lax.map(forward, jnp.arange(len(images))), None

    return jax.lax.scan(one_draw, jnp.zeros(labels.shape, jnp.int32), jnp.arange(draws))[0]


def _fooled(answer: Answer) -> Bool[Array, " n"]:
    """The rows that fooled the victim by an answer that is finite, or a class."""
    finite = known(answer)
    return answer.fooled & jnp.all(finite, axis=tuple(range(1, finite.ndim)))


_times_fooled = jax.jit(_count, static_argnums=(0, 1))
