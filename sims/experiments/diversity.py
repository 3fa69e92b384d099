"""Diversity of a purifier pool: V, Δ, ν and ν₂ against its size K, for the whole image and for patches.

The image is the patch of full size: one mechanism measured, `patchwise_choice`. For each K the pools are random
subsets of the trained members, averaged, because a single pool scatters by √(2/(K−1)) (THEORY P2).
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from defenses import zoo
from defenses.data.digits import IMAGE_SHAPE
from defenses.purifiers.family import PurifierFamily, outputs, patchwise_choice
from sims.experiments.experiment import Context, Experiment, Plan, check_counts, check_different, check_seed
from sims.losses import margin_loss
from sims.victims import load_victim
from theory.catalogue import find

QUANTITIES = {
    "variance": "loss-level variance V",
    "loss_spread": "range of the loss over draws, Δ",
    "nu_squared": "squared worst-pair diversity ν², pixel units²",
    "nu2_squared": "mean-square diversity ν₂², pixel units²",
}


@dataclass(frozen=True)
class Config:
    """Diversity of the trained purifiers on held-out digits."""

    model: str = "cnn"
    """Digits classifier whose margin loss is read."""
    pool_sizes: tuple[int, ...] = (2, 3, 5, 8)
    """Purifiers in the pool, K."""
    patch_sizes: tuple[int, ...] = (8, 4, 2)
    """Sides of the patches in pixels; the side of the image means one purifier for the whole image."""
    images: int = 16
    """Correctly classified held-out images."""
    pools: int = 28
    """Different random pools averaged for each K, as far as there are so many."""
    draws: int = 128
    """Draws of the assignment per image and pool."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_counts(self, pool_sizes=2, patch_sizes=1, images=2, pools=1, draws=2)
        check_seed(self.seed)
        check_different(self, "pool_sizes", "patch_sizes")
        for patch in self.patch_sizes:
            if IMAGE_SHAPE[0] % patch:
                raise ValueError(f"patch_sizes must divide the side of the images, {IMAGE_SHAPE[0]}, got {patch}")


def plan(config: Config) -> Plan:
    """Rows over all pools, sizes and patches."""
    settings = len(config.pool_sizes) * len(config.patch_sizes)
    rows = settings * config.images * config.pools * config.draws
    return Plan(rows, rows / 3e4 + settings, 500)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure every pool size and patch size on the same images and pools."""
    victim = load_victim(config.model, (), config.images, context.models, config.seed)
    family = zoo.purifier_family("digits", config.seed, context.models)
    if max(config.pool_sizes) > family.size:
        raise ValueError(f"pool_sizes must be <= {family.size}, the trained purifiers, got {max(config.pool_sizes)}")
    settings = [(k, patch) for k in config.pool_sizes for patch in config.patch_sizes]
    table = []
    for done, (k, patch) in enumerate(settings):
        context.advance("pools", done, len(settings))
        table.append(_measure(config, victim, family, k, patch))
    context.advance("pools", len(settings), len(settings))
    values = np.array(table).reshape(len(config.pool_sizes), len(config.patch_sizes), len(QUANTITIES), config.images)
    dims = ("pool_size", "patch_size", "image")
    data = {name: (dims, values[:, :, i], {"long_name": text}) for i, (name, text) in enumerate(QUANTITIES.items())}
    return xr.Dataset(data, {"pool_size": list(config.pool_sizes), "patch_size": list(config.patch_sizes)}), {}


def _measure(config: Config, victim, family: PurifierFamily, k: int, patch: int) -> np.ndarray:
    """(quantities, images), averaged over the pools."""
    pools = _pools(config, family.size, k)
    measure = _measurement(config, victim, family, k, patch)
    key = jax.random.key(config.seed)
    seen = [
        measure(jax.random.fold_in(key, i), _members(family, pool).params, victim.classifier.params)
        for i, pool in enumerate(pools)
    ]
    return np.mean([np.asarray(part) for part in seen], axis=0)


def _pools(config: Config, size: int, k: int) -> np.ndarray:
    """Different random subsets of k members, (at most config.pools, k)."""
    subsets = np.array(list(combinations(range(size), k)))
    return np.random.default_rng([config.seed, k]).permutation(subsets)[: config.pools]


def _members(family: PurifierFamily, members: np.ndarray) -> PurifierFamily:
    return family._replace(params=jax.tree.map(lambda p: p[members], family.params), size=len(members))


def _measurement(config: Config, victim, family: PurifierFamily, k: int, patch: int):
    defense = patchwise_choice(_members(family, np.arange(k)), patch)
    images, labels = jnp.asarray(victim.images), jnp.asarray(victim.labels)

    def one_image(key, pool, params, image, label):
        keys = jax.random.split(key, config.draws)
        purified = defense.apply(pool, keys, jnp.broadcast_to(image, (config.draws, *image.shape)))
        loss = margin_loss(victim.classifier.logits(params, purified), jnp.full(config.draws, label))
        scatter = jnp.sum(jnp.var(purified, axis=0, ddof=1))
        return jnp.var(loss, ddof=1), loss.max() - loss.min(), 2 * scatter

    @jax.jit
    def measure(key, pool, params):
        keys = jax.random.split(key, len(images))
        v, spread, nu2 = jax.lax.map(lambda row: one_image(row[0], pool, params, *row[1:]), (keys, images, labels))
        worst = worst_pair_squared(outputs(family._replace(params=pool, size=k), images), patch)
        return jnp.stack([v, spread, worst, nu2])

    return measure


def worst_pair_squared(purified: jax.Array, patch: int) -> jax.Array:
    """ν² (n,) of outputs (K, n, h, w, c): the squared distances of the worst pairs, summed over the patches."""
    k, n, h, w, c = purified.shape
    tiled = purified.reshape(k, n, h // patch, patch, w // patch, patch, c)
    distances = jnp.sum((tiled[:, None] - tiled[None]) ** 2, axis=(4, 6, 7))
    return jnp.sum(distances.max(axis=(0, 1)), axis=(1, 2))


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per pool size and patch size: means over the images with standard errors, and V by P2 from the largest K.

    For subsets of one pool P2 is an identity of subsampling: a check of the code, no test of exchangeability.
    """
    largest = int(data.pool_size.max())
    rows = []
    for patch in data.patch_size.values:
        whole = float(data.variance.sel(patch_size=patch, pool_size=largest).mean())
        limit = whole / (1 - 1 / largest)
        for k in data.pool_size.values:
            cell = data.sel(patch_size=patch, pool_size=k)
            rows.append(
                {
                    "pool_size": int(k),
                    "patch_size": int(patch),
                    "V": float(cell.variance.mean()),
                    "V_standard_error": standard_error(cell.variance),
                    "V_by_P2": find("P2-mean")(K=int(k), V=limit),
                    "Delta": float(cell.loss_spread.mean()),
                    "Delta_standard_error": standard_error(cell.loss_spread),
                    "nu": float(np.sqrt(cell.nu_squared).mean()),
                    "nu_standard_error": standard_error(np.sqrt(cell.nu_squared)),
                    "nu2": float(np.sqrt(cell.nu2_squared).mean()),
                    "nu2_standard_error": standard_error(np.sqrt(cell.nu2_squared)),
                }
            )
    return {"rows": rows}


def standard_error(values: xr.DataArray) -> float:
    """Standard error of the mean over images."""
    return float(values.std(ddof=1) / np.sqrt(values.size))


EXPERIMENT = Experiment(Config, plan, run, report)
