"""Rounding to a few grey levels: defences whose gradient is zero almost everywhere (shattered).

They resist gradient attacks that go through them and nothing else: they are here so that checks for gradient masking
have something to find (Athalye et al. 2018, Obfuscated Gradients; bit-depth reduction: Xu et al. 2018).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from defenses.defense import Defense
from defenses.options.ranges import check_counts
from defenses.purifiers.method import Method


@dataclass(frozen=True)
class Quantizer:
    """Settings of both quantisers."""

    levels: int = 8
    """Evenly spaced grey levels from 0 to 1, >= 2."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_counts(self, levels=2)


def quantizer(levels: int) -> Defense:
    """Every pixel becomes the nearest of `levels` evenly spaced values from 0 to 1; raises as `Quantizer` does."""
    steps = Quantizer(levels).levels - 1

    def apply(params, keys, images):
        return jnp.round(images * steps) / steps

    return Defense(f"quantizer-{levels}", {}, apply, False)


def random_quantizer(levels: int) -> Defense:
    """Every pixel becomes the level above or below, at random, so that its mean stays (dithering)."""
    steps = Quantizer(levels).levels - 1

    def apply(params, keys, images):
        chances = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
        below = jnp.floor(images * steps)
        return (below + (chances < images * steps - below)) / steps

    return Defense(f"random-quantizer-{levels}", {}, apply, True)


SOURCE = "bit-depth reduction, Xu et al. 2018; levels chosen here"
METHOD = Method(Quantizer, lambda settings, _: quantizer(settings.levels), SOURCE)
RANDOM = Method(
    Quantizer, lambda settings, _: random_quantizer(settings.levels), f"{SOURCE}; dithered", randomized=True
)
