"""VGG-16: thirteen 3×3 convolutions in five groups, each group followed by max pooling, then dense layers.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks (2015), configuration D; indices as in torchvision.
"""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from defenses.classifiers.layers import batch_norm, convolution, linear
from defenses.training.recipe import Recipe

RECIPE = Recipe(200, 128, 0.05, 5e-4, "cosine")
"""After github.com/chengyangfu/pytorch-vgg-cifar10: 300 epochs, the rate halved every 30, no Nesterov."""

GROUPS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of each group
REDUCTION = 32  # of a side, by five poolings
PUBLISHED_SIDE = 7  # of the features that the three dense layers see
HIDDEN = 4096

_dense = partial(linear, kernel_init=jax.nn.initializers.normal(0.01))


class Network(nnx.Module):
    """The network, with or without batch norm after each convolution.

    Images below 64 pixels get one dense layer, as the CIFAR-10 ports of the field do, and zeros around them up to
    32 × 32; images of 224 pixels get the paper's three. The dropout of its training is left out. Raises ValueError
    for other sizes.
    """

    def __init__(self, normalized: bool, image_shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs):
        *sides, depth = image_shape
        reduced = {max(side // REDUCTION, 1) for side in sides}
        if reduced not in ({1}, {PUBLISHED_SIDE}):
            raise ValueError(f"image_shape must have sides below 64 or in 224..255 for VGG-16, got {image_shape}")
        self.features = nnx.Sequential(*_features(depth, normalized, rngs))
        width = GROUPS[-1][0]
        if reduced == {1}:
            self.hidden = nnx.Sequential()
            self.head = _dense(width, num_classes, rngs)
        else:
            first, second = _dense(width * PUBLISHED_SIDE**2, HIDDEN, rngs), _dense(HIDDEN, HIDDEN, rngs)
            self.hidden = nnx.Sequential(first, nnx.relu, second, nnx.relu)
            self.head = _dense(HIDDEN, num_classes, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Scores of the classes."""
        features = self.features(_padded(images))
        return self.head(self.hidden(features.reshape(len(images), -1)))


def _features(depth: int, normalized: bool, rngs: nnx.Rngs) -> Iterator[Callable]:
    """Layers in torchvision's order, so that they have its indices."""
    for channels, convolutions in GROUPS:
        for _ in range(convolutions):
            yield convolution(depth, channels, 3, rngs, bias=True)
            if normalized:
                yield batch_norm(channels, rngs=rngs)
            yield nnx.relu
            depth = channels
        yield partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))


def _padded(images: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """The images amid zeros, both sides at least `REDUCTION`."""
    missing = [max(REDUCTION - side, 0) for side in images.shape[1:3]]
    margins = [(total // 2, total - total // 2) for total in missing]
    return jnp.pad(images, ((0, 0), *margins, (0, 0)))
