"""Residual networks for small images: three stages of 3×3 blocks with parameter-free shortcuts.

Source: He et al., Deep Residual Learning for Image Recognition (2016), section 4.2; weights are published by
akamaster/pytorch_resnet_cifar10.
"""

from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from defenses.classifiers.layers import batch_norm, convolution, linear
from defenses.training.adversarial import FAST
from defenses.training.recipe import Recipe

RECIPE = Recipe(200, 128, 0.1, 1e-4, "multistep")
"""After He et al. (2016), section 4.2, who take 64,000 steps (164 epochs of CIFAR-10) without Nesterov's momentum."""

FAST_AT_RECIPE = Recipe(15, 128, 0.1, 5e-4, "cosine", adversary=FAST)
"""After Wong et al., Fast Is Better Than Free (2020): adversary, decay and epochs are theirs, rates a cosine of 0.1."""

WIDTHS = (16, 32, 64)


class Block(nnx.Module):
    """Two 3×3 convolutions beside shortcut A: every stride-th pixel, zeros for the added channels."""

    def __init__(self, width_in: int, width_out: int, rngs: nnx.Rngs):
        self.stride = width_out // width_in
        self.added = width_out - width_in
        self.conv1 = convolution(width_in, width_out, 3, rngs, stride=self.stride)
        self.bn1 = batch_norm(width_out, rngs=rngs)
        self.conv2 = convolution(width_out, width_out, 3, rngs)
        self.bn2 = batch_norm(width_out, rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        """Features of the block."""
        shortcut = images[:, :: self.stride, :: self.stride]
        shortcut = jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (self.added // 2, self.added // 2)))
        features = nnx.relu(self.bn1(self.conv1(images)))
        return nnx.relu(self.bn2(self.conv2(features)) + shortcut)


class Network(nnx.Module):
    """Stem, three stages of `blocks` blocks, global average, dense layer: 6 · blocks + 2 layers."""

    def __init__(self, blocks: int, image_shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs):
        self.conv1 = convolution(image_shape[-1], WIDTHS[0], 3, rngs)
        self.bn1 = batch_norm(WIDTHS[0], rngs=rngs)
        self.layer1, self.layer2, self.layer3 = (
            _stage(blocks, before, after, rngs) for before, after in pairwise((WIDTHS[0], *WIDTHS))
        )
        self.linear = linear(WIDTHS[-1], num_classes, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Scores of the classes."""
        features = self.layer1(nnx.relu(self.bn1(self.conv1(images))))
        return self.linear(self.layer3(self.layer2(features)).mean((1, 2)))


def _stage(blocks: int, width_in: int, width_out: int, rngs: nnx.Rngs) -> nnx.Sequential:
    widths = (width_in, *[width_out] * blocks)
    return nnx.Sequential(*(Block(before, after, rngs) for before, after in pairwise(widths)))
