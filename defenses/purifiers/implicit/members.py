"""The members of a pool: which attack each learnt to undo, with which encoder, and how that is kept in one file."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from defenses.purifiers.implicit.network import SIZES, purifier, template
from defenses.purifiers.pools.family import PurifierFamily, family_of, joined

NAME = "puridefense"


class Member(NamedTuple):
    """attack: whose images it undoes, with its settings. size: a name of `network.SIZES`.

    seed: of its first weights and its batches.
    """

    attack: str
    size: str
    seed: int

    @property
    def kind(self) -> str:
        """The attack's name."""
        return self.attack.partition(":")[0]


def members(attacks: Sequence[str], sizes: Sequence[str], count: int, seed: int) -> tuple[Member, ...]:
    """`count` members that go through attacks and sizes in turn, so that the first few differ in both.

    Pools of two seeds share no member.
    """
    return tuple(Member(attacks[k % len(attacks)], sizes[k % len(sizes)], count * seed + k) for k in range(count))


def named(params: Sequence[PyTree]) -> dict[str, PyTree]:
    """The params of all members under their numbers, in float16, as a pool's file holds them."""
    return {f"{k:02d}": jax.tree.map(lambda leaf: leaf.astype(jnp.float16), mine) for k, mine in enumerate(params)}


def named_template(pool: Sequence[Member], colours: int) -> dict[str, PyTree]:
    """Names, shapes and dtypes of what `named` gives."""
    return {f"{k:02d}": _halved(template(SIZES[one.size], colours)) for k, one in enumerate(pool)}


def family(pool: Sequence[Member], params: Mapping[str, PyTree], colours: int, first: int) -> PurifierFamily:
    """The first members of the pool; those of one size stand together. params: as `named` gives them."""
    chosen = list(enumerate(pool[:first]))
    groups = []
    for size in dict.fromkeys(member.size for _, member in chosen):
        mine = [params[f"{k:02d}"] for k, member in chosen if member.size == size]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves).astype(jnp.float32), *mine)
        groups.append(family_of(NAME, stacked, purifier(SIZES[size], colours), len(mine), together=False))
    return joined(NAME, *groups)


def _halved(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float16), tree)
