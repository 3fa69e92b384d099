"""Diversity of a purifier pool: V, Δ, ν and ν₂ against its size K, for the whole image and for patches.

The image is the patch of full size. A member sees whole images, of whose outputs patches are cut, or each patch alone.
For each K the pools are random subsets of the trained members, averaged, because a single pool scatters by √(2/(K−1))
(statement P2-scatter).
"""

from collections.abc import Callable
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from defenses.purifiers.pools.family import PurifierFamily, outputs
from defenses.purifiers.pools.patches import cut, put_together
from sims.victims.losses import margin_loss
from sims.victims.victim import Victim

QUANTITIES = {
    "variance": "loss-level variance V",
    "loss_spread": "range of the loss over draws, Δ",
    "nu_squared": "squared worst-pair diversity ν², pixel units²",
    "nu2_squared": "mean-square diversity ν₂², pixel units²",
}


def measure(
    victim: Victim,
    family: PurifierFamily,
    pool_sizes: tuple[int, ...],
    patch_sizes: tuple[int, ...],
    alone: bool,
    pools: int,
    draws: int,
    seed: int,
    advance: Callable[[int, int], None],
) -> xr.Dataset:
    """The QUANTITIES, each (pool_size, patch_size, image), on the same images and pools for every setting.

    alone: whether a member sees a patch alone. pools: different random pools averaged for each K, as far as there are
    so many. draws: per image and pool. advance: (settings done, settings). Raises ValueError for a pool larger than
    the family.
    """
    if max(pool_sizes) > family.size:
        raise ValueError(f"pool_sizes must be <= {family.size}, the trained purifiers, got {max(pool_sizes)}")
    settings = [(k, patch) for k in pool_sizes for patch in patch_sizes]
    table = []
    for done, (k, patch) in enumerate(settings):
        advance(done, len(settings))
        table.append(_averaged(victim, family, _pools(family.size, k, pools, seed), patch, alone, draws, seed))
    advance(len(settings), len(settings))
    values = np.array(table).reshape(len(pool_sizes), len(patch_sizes), len(QUANTITIES), len(victim.images))
    dims = ("pool_size", "patch_size", "image")
    data = {name: (dims, values[:, :, i], {"long_name": text}) for i, (name, text) in enumerate(QUANTITIES.items())}
    coordinates = {"pool_size": list(pool_sizes), "patch_size": list(patch_sizes), "image": victim.ids}
    return xr.Dataset(data, coordinates, {"side": victim.images.shape[1]})


def _averaged(victim: Victim, family: PurifierFamily, pools: np.ndarray, patch, alone, draws: int, seed: int):
    """(quantities, images), averaged over the pools."""
    measure_pool, key = _measurement(victim, family, patch, alone, draws), jax.random.key(seed)
    given = family.params, victim.network.params
    seen = [measure_pool(jax.random.fold_in(key, i), *given, pool) for i, pool in enumerate(pools)]
    return np.mean([np.asarray(part) for part in seen], axis=0)


def _pools(size: int, k: int, pools: int, seed: int) -> np.ndarray:
    """Different random subsets of k members, (at most `pools`, k)."""
    subsets = np.array(list(combinations(range(size), k)))
    return np.random.default_rng([seed, k]).permutation(subsets)[:pools]


def _measurement(victim: Victim, family: PurifierFamily, patch: int, alone: bool, draws: int):
    """The jitted measurement of any choice of members, by their places: every member purifies an image once."""
    network = victim.network
    images, labels = jnp.asarray(victim.images), jnp.asarray(victim.labels)

    def one_image(key, pool, params, chosen, image, label):
        outputs = seen(family._replace(params=pool), image[None], patch, alone)[chosen]
        purified = drawn(key, outputs[:, 0], patch, draws)
        loss = margin_loss(network.scores(params, jax.random.split(key, draws), purified), jnp.full(draws, label))
        scatter = jnp.sum(jnp.var(purified, axis=0, ddof=1))
        worst = worst_pair_squared(outputs, patch)[0]
        return jnp.stack([jnp.var(loss, ddof=1), loss.max() - loss.min(), worst, 2 * scatter])

    @jax.jit
    def measure_pool(key, pool, params, chosen):
        keys = jax.random.split(key, len(images))
        return jax.lax.map(lambda row: one_image(row[0], pool, params, chosen, *row[1:]), (keys, images, labels)).T

    return measure_pool


def drawn(key: jax.Array, outputs: jax.Array, patch: int, draws: int) -> jax.Array:
    """(draws, h, w, c) images whose every patch is that of a member drawn uniformly. outputs: (K, h, w, c)."""
    tiles = cut(outputs, patch)
    tiles = tiles.reshape(len(outputs), -1, *tiles.shape[1:])
    places = jnp.arange(tiles.shape[1])
    member = jax.random.randint(key, (draws, len(places)), 0, len(outputs))
    picked = tiles[member, places].reshape(-1, *tiles.shape[2:])
    return put_together(picked, (draws, *outputs.shape[1:]), patch)


def seen(family: PurifierFamily, images: jax.Array, patch: int, alone: bool) -> jax.Array:
    """(K, n, h, w, c) what every member makes of the images, seen whole, or patch by patch and put together again."""
    if not alone:
        return outputs(family, images)
    return jax.vmap(lambda one: put_together(one, images.shape, patch))(outputs(family, cut(images, patch)))


def worst_pair_squared(purified: jax.Array, patch: int) -> jax.Array:
    """ν² (n,) of outputs (K, n, h, w, c): the squared distances of the worst pairs, summed over the patches."""
    k, n, h, w, c = purified.shape
    tiled = purified.reshape(k, n, h // patch, patch, w // patch, patch, c)
    distances = jnp.sum((tiled[:, None] - tiled[None]) ** 2, axis=(4, 6, 7))
    return jnp.sum(distances.max(axis=(0, 1)), axis=(1, 2))
