"""ResNet-20 for 32×32 colour images: three stages of three blocks, 0.27 M parameters."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from defenses.classifiers.classifier import Classifier

WIDTHS = (16, 32, 64)
BLOCKS_PER_STAGE = 3


class Block(nnx.Module):
    """Two 3×3 convolutions and a parameter-free shortcut (option A: every other pixel, zero channels).

    Batch normalisation in inference form is an affine map per channel; it is folded into the convolutions'
    kernels and biases.
    """

    def __init__(self, width_in: int, width_out: int, rngs: nnx.Rngs):
        self.stride = width_out // width_in
        self.added = width_out - width_in
        self.first = _convolution(width_in, width_out, self.stride, rngs)
        self.second = _convolution(width_out, width_out, 1, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        """Features of the block."""
        shortcut = images[:, :: self.stride, :: self.stride]
        before = self.added // 2
        shortcut = jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (before, self.added - before)))
        return nnx.relu(self.second(nnx.relu(self.first(images))) + shortcut)


class Network(nnx.Module):
    """Stem, nine blocks, global average, dense layer."""

    def __init__(self, num_classes: int, rngs: nnx.Rngs):
        inputs = [WIDTHS[0], *(width for width in WIDTHS for _ in range(BLOCKS_PER_STAGE))]
        self.stem = _convolution(3, WIDTHS[0], 1, rngs)
        self.blocks = nnx.Sequential(*(Block(before, after, rngs) for before, after in pairwise(inputs)))
        self.head = nnx.Linear(WIDTHS[-1], num_classes, rngs=rngs)

    def __call__(self, images: Float[Array, "n 32 32 3"]) -> Float[Array, "n classes"]:
        """Scores of the classes."""
        return self.head(self.blocks(nnx.relu(self.stem(images))).mean((1, 2)))


def random_resnet20(seed: int) -> Classifier:
    """ResNet-20 with He-normal weights drawn from `seed`, for measurements of speed.

    Source: He et al., Deep Residual Learning for Image Recognition (2016), section 4.2.
    """
    graph = nnx.split(nnx.eval_shape(lambda: Network(10, nnx.Rngs(0))))[0]

    @jax.jit
    def draw():
        return nnx.to_pure_dict(nnx.split(Network(10, nnx.Rngs(seed)))[1])

    return Classifier(
        "resnet20",
        draw(),
        lambda params, images: nnx.merge(graph, params)(images),
        (32, 32, 3),
        10,
    )


def _convolution(width_in: int, width_out: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    return nnx.Conv(
        width_in,
        width_out,
        (3, 3),
        strides=stride,
        padding=1,
        kernel_init=jax.nn.initializers.variance_scaling(2, "fan_in", "normal"),
        rngs=rngs,
    )
