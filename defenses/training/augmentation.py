"""Random crops and flips of training images, drawn on the device."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Num

PADDING = 4  # black pixels on each side before the crop

Images = Num[Array, "n h w c"]


def random_crop(key: Key[Array, ""], images: Images) -> Images:
    """Each image moved by −4 to 4 pixels along each axis, every one of the 81 moves equally likely, black moving in.

    images: (n, h, w, c) of any dtype, as is the result. Source: He et al., Deep Residual Learning for Image
    Recognition (2016), section 4.2.
    """
    padded = jnp.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * PADDING + 1)

    def crop(image, corner):
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

    return jax.vmap(crop)(padded, corners)


def random_flip(key: Key[Array, ""], images: Images) -> Images:
    """Each image mirrored left to right with probability ½; shapes and dtype as given."""
    flipped = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(flipped, images[:, :, ::-1], images)


def random_crop_and_flip(key: Key[Array, ""], images: Images) -> Images:
    """`random_crop`, then `random_flip`, from two independent keys."""
    crop_key, flip_key = jax.random.split(key)
    return random_flip(flip_key, random_crop(crop_key, images))


def random_flip_and_transpose(key: Key[Array, ""], images: Images) -> Images:
    """Each square image flipped along either axis and transposed, with probability ½ each; shapes and dtype kept."""
    left, up, across = jax.random.bernoulli(key, 0.5, (3, len(images), 1, 1, 1))
    images = jnp.where(left, images[:, :, ::-1], images)
    images = jnp.where(up, images[:, ::-1], images)
    return jnp.where(across, images.swapaxes(1, 2), images)


AUGMENTATIONS: dict[str, Callable[[Key[Array, ""], Images], Images]] = {
    "crop-and-flip": random_crop_and_flip,
    "crop": random_crop,
    "none": lambda key, images: images,
}
AUGMENTATION_OF: dict[str, str] = {
    "cifar10": "crop-and-flip",
    "mnist": "crop",
    "fashion-mnist": "crop",
    "digits": "none",
}
"""What is usual on each data set."""
