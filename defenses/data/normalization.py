"""The affine map in front of a network: (image − mean) / std per channel."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Normalization(NamedTuple):
    """Mean and standard deviation of each colour channel, in pixel units of [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """The normalised images."""
        return (images - jnp.asarray(self.mean, images.dtype)) / jnp.asarray(self.std, images.dtype)


def checked(normalization: Normalization, channels: int) -> Normalization:
    """`normalization` if it has a finite mean and a finite std > 0 for each of the channels, else ValueError."""
    mean, std = normalization
    finite = all(map(math.isfinite, (*mean, *std)))
    if not (len(mean) == len(std) == channels and finite and all(one > 0 for one in std)):
        raise ValueError(f"normalization needs {channels} means and as many std > 0, all finite")
    return normalization


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALIZATIONS: dict[str, Normalization] = {  # per data set: its training pixels' own, as the field rounds them
    "cifar10": Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "mnist": Normalization((0.1307,), (0.3081,)),
    "fashion-mnist": Normalization((0.2860,), (0.3530,)),
    "imagenet": IMAGENET,
    "digits": Normalization((0.0,), (1.0,)),
}
UNCHANGED = {channels: Normalization((0.0,) * channels, (1.0,) * channels) for channels in (1, 3)}  # pixels as they are
