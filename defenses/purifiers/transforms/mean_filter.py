"""The moving average, a fixed linear transform."""

from dataclasses import dataclass
from functools import reduce
from operator import add

import jax.numpy as jnp

from defenses.defense import Defense
from defenses.options.ranges import check_at_most
from defenses.purifiers.method import Method

LARGEST = 999  # every step of the window is an addition of its own


@dataclass(frozen=True)
class MeanFilter:
    """Settings of the moving average."""

    size: int = 3
    """Side of the window, odd, from 1 to 999."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"size must be odd and >= 1, got {self.size}")
        check_at_most(self, size=LARGEST)


def mean_filter(size: int) -> Defense:
    """Each pixel becomes the mean of the `size`×`size` window around it, border pixels repeated outwards.

    The window is separable: `size` shifted additions along each axis. Raises as `MeanFilter` does.
    """
    reach = MeanFilter(size).size // 2

    def apply(params, keys, images):
        _, height, width, _ = images.shape
        padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
        columns = reduce(add, [padded[:, offset : offset + height] for offset in range(size)])
        return reduce(add, [columns[:, :, offset : offset + width] for offset in range(size)]) / size**2

    return Defense("mean-filter", {}, apply, False)


METHOD = Method(
    MeanFilter, lambda settings, _: mean_filter(settings.size), "spatial smoothing, Xu et al. 2018; size chosen here"
)
