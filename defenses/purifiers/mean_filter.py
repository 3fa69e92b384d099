"""The moving average, a fixed linear transform."""

from functools import reduce
from operator import add

import jax.numpy as jnp

from defenses.defense import Defense


def mean_filter(size: int) -> Defense:
    """Each pixel becomes the mean of the `size`×`size` window around it, border pixels repeated outwards.

    size: odd and ≥ 1, else ValueError. The window is separable: `size` shifted additions along each axis.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and >= 1, got {size}")
    reach = size // 2

    def apply(params, keys, images):
        _, height, width, _ = images.shape
        padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
        columns = reduce(add, [padded[:, offset : offset + height] for offset in range(size)])
        return reduce(add, [columns[:, :, offset : offset + width] for offset in range(size)]) / size**2

    return Defense("mean-filter", {}, apply, False)
