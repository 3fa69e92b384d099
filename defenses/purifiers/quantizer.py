"""Rounding to a few grey levels: defences whose gradient is zero almost everywhere (shattered).

They resist gradient attacks that go through them and nothing else: they are here so that checks for gradient masking
have something to find (Athalye et al. 2018, Obfuscated Gradients; bit-depth reduction: Xu et al. 2018).
"""

import jax
import jax.numpy as jnp

from defenses.defense import Defense


def quantizer(levels: float) -> Defense:
    """Every pixel becomes the nearest of `levels` evenly spaced values from 0 to 1. levels: whole, >= 2."""
    steps = _steps(levels)

    def apply(params, keys, images):
        return jnp.round(images * steps) / steps

    return Defense(f"quantizer-{steps + 1}", {}, apply, False)


def random_quantizer(levels: float) -> Defense:
    """Every pixel becomes the level above or below, at random, so that its mean stays (dithering).

    levels: whole, >= 2.
    """
    steps = _steps(levels)

    def apply(params, keys, images):
        chances = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
        below = jnp.floor(images * steps)
        return (below + (chances < images * steps - below)) / steps

    return Defense(f"random-quantizer-{steps + 1}", {}, apply, True)


def _steps(levels: float) -> int:
    if not 2 <= levels < float("inf") or levels != int(levels):
        raise ValueError(f"levels must be a whole number >= 2, got {levels:g}")
    return int(levels) - 1
