"""N-evaluation: how often a final image fools the victim over fresh draws of its defence.

What an attack claims under its stopping rule is one draw, chosen by the attack; a defence that answers at random is
judged by fresh ones: their average, and the worst of N. An answer that is not finite has fooled nobody.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from defenses.data.inputs import as_images, as_labels
from sims.engine.checkpoint import fingerprint
from sims.victims.host import NO_CLASS, HostOracle, identity, read_replies
from sims.victims.oracle import Answer, Oracle, fools, known


def times_fooled(
    key: Key[Array, ""],
    oracle: Oracle | HostOracle,
    images: Float[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    draws: int,
    tile: int,
    first: int = 0,
) -> Int[np.ndarray, " n"]:
    """(n,) in how many of `draws` >= 1 fresh draws each image (float32 in [0, 1]) fools the victim.

    labels: as the oracle takes them. tile: rows per forward pass; the one of the attack, so that a deterministic
    victim answers with the bits that the attack saw. A victim on the host, whose oracle answers with labels, is asked
    for a tile at a time; one that remembers the names of requests gives fresh draws where the oracle's `run` is new.
    first: how many images came before these, a multiple of tile, where they are judged in parts.
    Raises ValueError for images or labels of another shape.
    """
    images = as_images(images)
    labels = as_labels(labels, len(images))
    if isinstance(oracle, HostOracle):
        return _fooled_on_host(oracle, images, labels, draws, tile)
    return _over_draws(_fooled, key, oracle, images, labels, draws, tile, first)


def times_predicted(
    key: Key[Array, ""], oracle: Oracle, images: Float[np.ndarray, "n h w c"], draws: int, tile: int
) -> Int[np.ndarray, "n classes"]:
    """(n, classes) how often each class is predicted in `draws` >= 1 fresh draws; an answer not finite is no class.

    oracle: answers with labels, of known `num_classes`. images, tile: as in `times_fooled`.
    """
    assert oracle.feedback == "label"
    images = as_images(images)
    return _over_draws(_predicted, key, oracle, images, np.zeros(len(images), np.int32), draws, tile)


def times_right(labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, "n classes"]) -> Int[np.ndarray, " n"]:
    """(n,) how many of the draws that `times_predicted` counted were of the label; one that was not finite was not."""
    return np.take_along_axis(predicted, labels[:, None], axis=1)[:, 0]


def outvoted(labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, "n classes"]) -> np.ndarray:
    """(n,) bool: the majority vote of the predictions is lost, because another class has at least as many as the label.

    Without any prediction it is lost too.
    """
    mine = np.take_along_axis(predicted, labels[:, None], axis=1)
    others = np.where(np.arange(predicted.shape[1]) == labels[:, None], -1, predicted)
    return np.asarray((others >= mine).any(axis=1))


def summed_scores(
    key: Key[Array, ""], oracle: Oracle, images: Float[np.ndarray, "n h w c"], draws: int, tile: int
) -> Float[np.ndarray, "n classes"]:
    """(n, classes) the sum of the scores over `draws` >= 1 fresh draws. oracle: answers with scores."""
    assert oracle.feedback == "scores"
    images = as_images(images)
    return _over_draws(_scores, key, oracle, images, np.zeros(len(images), np.int32), draws, tile)


def _over_draws(read, key, oracle: Oracle, images, labels, draws: int, tile: int, first: int = 0) -> np.ndarray:
    """The sum over fresh draws of what `read` makes of each row's answer."""
    count = -(-len(images) // tile) * tile
    rows = np.minimum(np.arange(count), len(images) - 1)  # the last tile repeats the last image
    tiles = (-1, tile)
    summed = _sum(
        read,
        oracle._replace(params=None),
        draws,
        oracle.params,
        key,
        jnp.asarray(images)[rows].reshape(*tiles, *images.shape[1:]),
        jnp.asarray(labels, jnp.int32)[rows].reshape(tiles),
        first // tile,
    )
    return np.array(summed).reshape(count, *summed.shape[2:])[: len(images)]


def _fooled_on_host(oracle: HostOracle, images, labels, draws: int, rows: int) -> Int[np.ndarray, " n"]:
    counts = np.zeros(len(images), np.int64)
    for draw in range(draws):
        for i in range(0, len(images), rows):
            batch = np.asarray(images[i : i + rows], np.float32)
            request = fingerprint("evaluation", identity(oracle), draw, i, batch)
            predicted = read_replies(oracle, oracle.victim(batch, request), len(batch))
            fooled = fools(jnp.asarray(predicted), jnp.asarray(labels[i : i + rows]), oracle.targeted)
            counts[i : i + rows] += np.asarray(fooled) & (predicted != NO_CLASS)
    return counts


def _fooled(oracle: Oracle, answer: Answer) -> Int[Array, " n"]:
    return (answer.fooled & known(answer)).astype(jnp.int32)


def _predicted(oracle: Oracle, answer: Answer) -> Int[Array, "n classes"]:
    assert oracle.num_classes is not None
    return jax.nn.one_hot(answer.value, oracle.num_classes, dtype=jnp.int32)


def _scores(oracle: Oracle, answer: Answer) -> Float[Array, "n classes"]:
    return answer.value


@partial(jax.jit, static_argnums=(0, 1, 2))
def _sum(read, oracle: Oracle, draws: int, params, key, images, labels, before):
    tile = images.shape[1]

    def answers(draw, i):
        keys = oracle.draw(jax.random.fold_in(jax.random.fold_in(key, draw), before + i), tile)
        return read(oracle, oracle.query(params, keys, images[i], labels[i]))

    def one_draw(sums, draw):
        return sums + jax.lax.map(lambda i: answers(draw, i), jnp.arange(len(images))), None

    one = jax.eval_shape(answers, 0, 0)
    return jax.lax.scan(one_draw, jnp.zeros((len(images), *one.shape), one.dtype), jnp.arange(draws))[0]
