"""A linear loss that never fools, and attacks that are stepped on it without the engine."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from sims.attacks.table import build_attack, read_attack
from sims.victims.oracle import Answer

SHAPE, SIZE, EPSILON = (4, 4, 2), 32, 0.1
KEY, CLEAN = jax.random.key(5), np.random.default_rng(0).uniform(0.4, 0.6, SHAPE).astype(np.float32)
SLOPE = -np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)


def linear(rows):
    return (rows * SLOPE).sum(axis=(1, 2, 3)) + 10


@cache
def driven(text, threat, steps):
    """`steps` steps on the linear loss, which never fools: the states after each, and the queries of each."""
    attack = build_attack(read_attack(text), threat)

    def step(state, key):
        queries = attack.ask(key, state)
        after = attack.tell(state, queries, Answer(linear(queries.images), jnp.zeros(attack.width, bool)))
        return after, (after, queries)

    @jax.jit
    def run(key):
        begin = attack.init(key, jnp.asarray(CLEAN), jnp.asarray(CLEAN))
        return jax.lax.scan(step, begin, jax.random.split(key, steps))[1]

    return jax.tree.map(np.asarray, run(KEY))


def answered(attack, state, queries, *values):
    """The state after these queries are answered with these values."""
    return attack.tell(state, queries, Answer(jnp.array(values, jnp.float32), jnp.zeros(attack.width, bool)))
