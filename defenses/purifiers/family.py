"""Families of K purifiers, and the defences that draw from them or average over them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from defenses.defense import Defense


class PurifierFamily(NamedTuple):
    """K purifiers m_1..m_K of one architecture.

    name: kebab-case.
    params: pytree whose every leaf has the leading axis K.
    purify: (one member's params, (n, h, w, c) float32 images) -> (n, h, w, c) float32 images.
    size: K ≥ 1.
    """

    name: str
    params: PyTree
    purify: Callable[[PyTree, Float[Array, "n h w c"]], Float[Array, "n h w c"]]
    size: int


def outputs(family: PurifierFamily, images: Float[Array, "n h w c"]) -> Float[Array, "K n h w c"]:
    """What every member makes of every image, (K, n, h, w, c), in one batched evaluation."""
    return _outputs(family, family.params, images)


def members(family: PurifierFamily, chosen: Int[np.ndarray, " k"]) -> PurifierFamily:
    """The members with those indices; raises ValueError unless there are some and each lies in 0..K−1."""
    if len(chosen) == 0 or min(chosen) < 0 or max(chosen) >= family.size:
        raise ValueError(f"members must lie in 0..{family.size - 1}, got {list(map(int, chosen))}")
    indices = np.asarray(chosen)
    return family._replace(params=jax.tree.map(lambda leaf: leaf[indices], family.params), size=len(indices))


def member(family: PurifierFamily, k: int) -> Defense:
    """Member `k` alone, deterministic; raises ValueError unless 0 ≤ k < K."""
    if not 0 <= k < family.size:
        raise ValueError(f"k must lie in 0..{family.size - 1}, got {k}")
    params = jax.tree.map(lambda leaf: leaf[k], family.params)

    def apply(params, keys, images):
        return family.purify(params, images)

    return Defense(f"{family.name}-{k}", params, apply, False)


def average(family: PurifierFamily) -> Defense:
    """The mean (1/K) Σ_k m_k(x) of all members' outputs, deterministic."""

    def apply(params, keys, images):
        return _outputs(family, params, images).mean(0)

    return Defense(f"average-{family.name}", family.params, apply, False)


def random_choice(family: PurifierFamily) -> Defense:
    """One member per row, uniform and independent; a patch as large as the image."""
    return _choice(f"random-{family.name}", family, lambda height, width: (1, 1))


def patchwise_choice(family: PurifierFamily, patch_size: int) -> Defense:
    """Each square patch of side `patch_size` cut from the full-image output of its own independent member.

    Raises ValueError when `patch_size` < 1, and when applied to images whose sides it does not divide.
    Statements P1-diversity and P1-variance say what patches change. Source: arXiv 2401.10586.
    """
    if patch_size < 1:
        raise ValueError(f"patch_size must be >= 1, got {patch_size}")

    def grid(height, width):
        if height % patch_size or width % patch_size:
            raise ValueError(f"patch_size must divide the image sides {height}×{width}, got {patch_size}")
        return height // patch_size, width // patch_size

    return _choice(f"patchwise-{family.name}", family, grid)


def _choice(name: str, family: PurifierFamily, grid: Callable[[int, int], tuple[int, int]]) -> Defense:
    """The defence that assigns one member to each cell of `grid(height, width)` = (rows, columns)."""

    def apply(params, keys, images):
        rows, columns = grid(*images.shape[1:3])
        return _assembled(_outputs(family, params, images), _assignment(keys, family.size, rows, columns))

    return Defense(name, family.params, apply, True)


def _assignment(keys: Key[Array, " n"], size: int, rows: int, columns: int) -> Int[Array, "n rows columns"]:
    return jax.vmap(lambda key: jax.random.randint(key, (rows, columns), 0, size))(keys)


def _assembled(
    candidates: Float[Array, "K n h w c"], assignment: Int[Array, "n rows columns"]
) -> Float[Array, "n h w c"]:
    """Each cell from the candidate that its assignment names, copied bit for bit."""
    size, _, height, width, _ = candidates.shape
    _, rows, columns = assignment.shape
    chosen = assignment.repeat(height // rows, axis=1).repeat(width // columns, axis=2)[..., None]
    images = candidates[0]
    for k in range(1, size):
        images = jnp.where(chosen == k, candidates[k], images)
    return images


def _outputs(family: PurifierFamily, params: PyTree, images: Array) -> Array:
    return jax.vmap(family.purify, (0, None))(params, images)
