"""What purification patch by patch costs with many purifiers beside one, in one process."""

import jax
import jax.numpy as jnp
import numpy as np

from defenses.purifiers.pools import convolutional
from defenses.purifiers.pools.family import PurifierFamily, local_choice, member, members
from sims.measurements.timing import in_turn

IMAGES, SIDE, CHANNELS, PATCH = 128, 32, 3, 8  # 2,048 patches
MEMBERS, HIDDEN, ROUNDS = 16, 64, 41  # a network that costs at least as much as moving its rows


def dispatch_ratios(seed: int) -> list[tuple[str, float, float]]:
    """(name, ratio of the medians of alternated runs, limit): 16 purifiers / 1, and / one applied plainly."""
    pool = _pool(seed)
    images = jnp.asarray(np.random.default_rng(seed).uniform(size=(IMAGES, SIDE, SIDE, CHANNELS)), jnp.float32)
    rows = images.reshape(-1, PATCH, PATCH, CHANNELS)
    keys, plain = jax.random.split(jax.random.key(seed), len(rows)), member(pool, 0)
    many, one = (local_choice(members(pool, np.arange(k)), PATCH) for k in (MEMBERS, 1))
    runs = [(many, images), (one, images), (plain, rows)]
    calls = [_call(defense, keys[: len(x)], x) for defense, x in runs]
    many_time, one_time, plain_time = np.median(in_turn(calls, ROUNDS), axis=0).tolist()
    name = f"local-purifier, {len(rows):,} patches: {MEMBERS} members"
    return [
        (f"{name} / 1 member", many_time / one_time, 1.10),
        (f"{name} / one applied plainly", many_time / plain_time, 1.25),
    ]


def _pool(seed: int) -> PurifierFamily:
    """MEMBERS untrained purifiers: what they make of an image does not matter, only what it costs."""
    recipe = convolutional.Recipe(members=(("uniform", 0.1),) * MEMBERS, hidden=HIDDEN)
    return convolutional.family(recipe, convolutional.initial(recipe, CHANNELS, seed))


def _call(defense, keys, images):
    apply = jax.jit(defense.apply)
    return lambda: jax.block_until_ready(apply(defense.params, keys, images))
