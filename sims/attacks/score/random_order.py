"""A random order of many things that is never written down: any place of it costs the same few operations.

The swap-or-not shuffle (Hoang, Morris & Rogaway 2012): each round pairs x with K − x, and a random bit of the pair
says whether the two change places. Every round is a bijection, so is their composition.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, UInt32

ROUNDS = 24


def random_order(key: Key[Array, ""]) -> UInt32[Array, "2 rounds"]:
    """The words that stand for one random order, whatever the number of things."""
    return jax.random.bits(key, (2, ROUNDS), jnp.uint32)


def place_in(order: UInt32[Array, "2 rounds"], turn: Int[Array, ""], count: int) -> Int[Array, ""]:
    """Which of `count` things, () int32 in [0, count), comes at this turn of that order.

    turn: () int32 >= 0; after `count` turns the order begins again. count: below 2³⁰.
    """
    x = turn.astype(jnp.uint32) % count
    for shift, salt in zip(order[0] % count, order[1], strict=True):
        partner = (shift + (count - x)) % count
        x = jnp.where(_bit(jnp.maximum(x, partner) ^ salt), partner, x)
    return x.astype(jnp.int32)


def _bit(word: UInt32[Array, ""]) -> Array:
    """One bit that every bit of the word bears on: two multiplications and shifts, the top bit of the result."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return (word >> 31) == 1
