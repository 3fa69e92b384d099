"""Families of K purifiers, and the defences that draw from them or average over them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from defenses.defense import Defense
from defenses.purifiers.pools.dispatch import Group, dispatched
from defenses.purifiers.pools.patches import cut, grid, put_together


class PurifierFamily(NamedTuple):
    """K purifiers m_1..m_K, of one architecture or several.

    name: kebab-case.
    params: of every group, a pytree whose every leaf has the group's number of members as its leading axis.
    groups: the members of one architecture each, numbered through in this order.
    """

    name: str
    params: tuple[PyTree, ...]
    groups: tuple[Group, ...]

    @property
    def size(self) -> int:
        """K ≥ 1."""
        return sum(group.size for group in self.groups)


def family_of(
    name: str,
    params: PyTree,
    purify: Callable[[PyTree, Float[Array, "n h w c"]], Float[Array, "n h w c"]],
    size: int,
    together: bool = True,
) -> PurifierFamily:
    """The family of `size` members of one architecture; `together` as a `Group` has it.

    params: every leaf has the leading axis K = size. purify: (one member's params, (n, h, w, c) float32 images) ->
    (n, h, w, c) float32 images, each from its own image alone.
    """
    return PurifierFamily(name, (params,), (Group(purify, size, together),))


def joined(name: str, *families: PurifierFamily) -> PurifierFamily:
    """One family of all their members, in this order."""
    params = tuple(part for family in families for part in family.params)
    return PurifierFamily(name, params, tuple(group for family in families for group in family.groups))


def outputs(family: PurifierFamily, images: Float[Array, "n h w c"]) -> Float[Array, "K n h w c"]:
    """What every member makes of every image, (K, n, h, w, c)."""
    return _outputs(family, family.params, images)


def members(family: PurifierFamily, chosen: Int[np.ndarray, " k"]) -> PurifierFamily:
    """The members with those indices, architecture by architecture.

    Raises ValueError unless there are some and each lies in 0..K−1.
    """
    if len(chosen) == 0 or min(chosen) < 0 or max(chosen) >= family.size:
        raise ValueError(f"members must lie in 0..{family.size - 1}, got {list(map(int, chosen))}")
    params, groups, first = [], [], 0
    for mine, group in zip(family.params, family.groups, strict=True):
        inside = np.array([k - first for k in map(int, chosen) if first <= k < first + group.size], int)
        if len(inside):
            params.append(jax.tree.map(lambda leaf, inside=inside: leaf[inside], mine))
            groups.append(group._replace(size=len(inside)))
        first += group.size
    return PurifierFamily(family.name, tuple(params), tuple(groups))


def member(family: PurifierFamily, k: int) -> Defense:
    """Member `k` alone, deterministic; raises ValueError unless 0 ≤ k < K."""
    if not 0 <= k < family.size:
        raise ValueError(f"k must lie in 0..{family.size - 1}, got {k}")
    alone = members(family, np.array([k]))

    def apply(params, keys, images):
        return alone.groups[0].purify(params, images)

    return Defense(f"{family.name}-{k}", jax.tree.map(lambda leaf: leaf[0], alone.params[0]), apply, False)


def average(family: PurifierFamily) -> Defense:
    """The mean (1/K) Σ_k m_k(x) of all members' outputs, deterministic."""

    def apply(params, keys, images):
        return _outputs(family, params, images).mean(0)

    return Defense(f"average-{family.name}", family.params, apply, False)


def random_choice(family: PurifierFamily) -> Defense:
    """One member per row, uniform and independent, at the cost of one: a row goes through its own member alone."""

    def apply(params, keys, images):
        return dispatched(family.groups, params, _assignment(keys, family.size, 1, 1).reshape(-1), images)

    return Defense(f"random-{family.name}", family.params, apply, True)


def patchwise_choice(family: PurifierFamily, patch_size: int) -> Defense:
    """Each square patch of side `patch_size` cut from the full-image output of its own independent member.

    Raises ValueError when `patch_size` < 1, and when applied to images whose sides it does not divide.
    Statements P1-diversity and P1-variance say what patches change. Source: arXiv 2401.10586.
    """
    _check_patch(patch_size)

    def apply(params, keys, images):
        return _assembled(_outputs(family, params, images), _assignment(keys, family.size, *grid(images, patch_size)))

    return Defense(f"patchwise-{family.name}", family.params, apply, True)


def local_choice(family: PurifierFamily, patch_size: int, context: int = 0) -> Defense:
    """Each square patch of side `patch_size` through its own independent member, which sees this patch alone.

    context: pixels beyond each edge of its patch that a member sees as well, zeros beyond the image, >= 0.

    A member costs what it costs on the patches it has drawn, so all K together cost what one would. Seams between
    patches are the price. Raises ValueError as `patchwise_choice` does. Source: arXiv 2401.10586.
    """
    _check_patch(patch_size)

    def apply(params, keys, images):
        assignment = _assignment(keys, family.size, *grid(images, patch_size)).reshape(-1)
        purified = dispatched(family.groups, params, assignment, cut(images, patch_size, context))
        return put_together(purified, images.shape, patch_size, context)

    return Defense(f"local-{family.name}", family.params, apply, True)


def _check_patch(patch_size: int) -> None:
    if patch_size < 1:
        raise ValueError(f"patch_size must be >= 1, got {patch_size}")


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


def _outputs(family: PurifierFamily, params: tuple[PyTree, ...], images: Array) -> Array:
    def of_group(group: Group, mine: PyTree) -> Array:
        if group.together:
            return jax.vmap(group.purify, (0, None))(mine, images)
        return jax.lax.map(lambda one: group.purify(one, images), mine)

    return jnp.concatenate([of_group(*one) for one in zip(family.groups, params, strict=True)])
