"""Random resizing and padding: the image shrunk to a random size and put at a random place on black."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from defenses.defense import Defense
from defenses.options.ranges import check_shares
from defenses.purifiers.method import Method


@dataclass(frozen=True)
class ResizePad:
    """Settings of the random size."""

    smallest: float = 0.8
    """Smallest side, as a share of the image's own, in (0, 1]; the largest is the image's own."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_shares(self, "smallest")


def resize_pad(smallest: float) -> Defense:
    """Each image bilinearly shrunk by a factor uniform on [smallest, 1], at a uniform place; raises as `ResizePad`.

    The published defence enlarges the canvas instead; networks here take images of one size.
    """
    least = ResizePad(smallest).smallest

    def one(key, image):
        height, width, _ = image.shape
        scale_key, place_key = jax.random.split(key)
        scale = jax.random.uniform(scale_key, (), minval=least, maxval=1.0)
        place = jax.random.uniform(place_key, (2,)) * (1 - scale) * jnp.array([height, width])
        return jax.image.scale_and_translate(
            image, image.shape, (0, 1), jnp.array([scale, scale]), place, "linear", antialias=True
        )

    def apply(params, keys, images):
        return jax.vmap(one)(keys, images)

    return Defense("resize-pad", {}, apply, True)


METHOD = Method(
    ResizePad,
    lambda settings, _: resize_pad(settings.smallest),
    "Xie et al. 2018, Mitigating Adversarial Effects Through Randomization; its sizes are chosen here",
    randomized=True,
)
