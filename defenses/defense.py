"""What a defence is, and how defences are put one after the other."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Key, PyTree


class Defense(NamedTuple):
    """A defence: a pure function of parameters, one key per row, and images.

    name: kebab-case; composed defences join theirs with "+".
    params: what `apply` takes first, any pytree of arrays (may be empty).
    apply: (params, (n,) typed keys, (n, h, w, c) float32 images) -> (n, h, w, c) float32 images. Pixels lie
        in [0, 1], but attack probes leave the box, so nothing is clipped. A row's output depends on that
        row's image and key alone.
    randomized: static; False means that the keys are ignored, hence V(x) = 0.
    has_gradient: False where `apply` runs on the host, out of reach of automatic differentiation.
    """

    name: str
    params: PyTree
    apply: Callable[[PyTree, Key[Array, " n"], Float[Array, "n h w c"]], Float[Array, "n h w c"]]
    randomized: bool
    has_gradient: bool = True


def compose(*defenses: Defense) -> Defense:
    """Apply `defenses` from left to right; member i gets the key `fold_in(row key, i)`.

    Returns a defence named "a+b", whose params are the tuple of its members' params, and which is randomised
    when any member is. Raises ValueError when called with nothing.
    """
    if not defenses:
        raise ValueError("defenses must hold at least one defence, got none")

    def apply(params, keys, images):
        for index, (member, member_params) in enumerate(zip(defenses, params, strict=True)):
            member_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
            images = member.apply(member_params, member_keys, images)
        return images

    return Defense(
        name="+".join(member.name for member in defenses),
        params=tuple(member.params for member in defenses),
        apply=apply,
        randomized=any(member.randomized for member in defenses),
        has_gradient=all(member.has_gradient for member in defenses),
    )
