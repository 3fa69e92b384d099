"""The median of every pixel's surroundings, spatial smoothing."""

import jax.numpy as jnp

from defenses.defense import Defense
from defenses.purifiers.method import Method, NoSettings

EXCHANGES = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (2, 4), (4, 6), (2, 4),
)  # fmt: skip
"""After these, each of which puts a pair in order, place 4 of nine numbers holds their median (Paeth, 1990)."""


def median_filter() -> Defense:
    """Each pixel becomes the median of the 3×3 window around it, channel by channel, border pixels repeated outwards.

    Exchanges of minima and maxima: sorting is far slower on a CPU.
    """

    def apply(params, keys, images):
        _, height, width, _ = images.shape
        padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        nine = [padded[:, a : a + height, b : b + width] for a in range(3) for b in range(3)]
        for i, j in EXCHANGES:
            nine[i], nine[j] = jnp.minimum(nine[i], nine[j]), jnp.maximum(nine[i], nine[j])
        return nine[4]

    return Defense("median-filter", {}, apply, False)


METHOD = Method(
    NoSettings, lambda settings, _: median_filter(), "spatial smoothing by medians, Xu et al. 2018; 3×3 chosen here"
)
