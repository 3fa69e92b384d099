"""Residual networks of four stages, behind a stem that reduces 224 pixels to 56 or, for small images, reduces nothing.

Source: He et al., Deep Residual Learning for Image Recognition (2016), table 1; names as in torchvision. The stem for
small images is the custom of CIFAR-10, as in kuangliu/pytorch-cifar.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from flax import nnx
from jaxtyping import Array, Float

from defenses.classifiers.layers import batch_norm, convolution, linear

STEM_WIDTH = 64
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # of a bottleneck's output over its 3×3 convolution


class BasicBlock(nnx.Module):
    """Two 3×3 convolutions, the first with the stride."""

    def __init__(self, width_in: int, width_out: int, stride: int, rngs: nnx.Rngs):
        self.conv1 = convolution(width_in, width_out, 3, rngs, stride=stride)
        self.bn1 = batch_norm(width_out, rngs=rngs)
        self.conv2 = convolution(width_out, width_out, 3, rngs)
        self.bn2 = batch_norm(width_out, rngs=rngs)
        self.downsample = _downsample(width_in, width_out, stride, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        """Features of the block."""
        features = nnx.relu(self.bn1(self.conv1(images)))
        return nnx.relu(self.bn2(self.conv2(features)) + self.downsample(images))


class Bottleneck(nnx.Module):
    """1×1, 3×3 and 1×1 convolutions; the paper ("v1") strides in the first, torchvision ("v1.5") in the second."""

    def __init__(self, stride_in: Literal["1x1", "3x3"], width_in: int, width_out: int, stride: int, rngs: nnx.Rngs):
        width = width_out // EXPANSION
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = convolution(width_in, width, 1, rngs, stride=first)
        self.bn1 = batch_norm(width, rngs=rngs)
        self.conv2 = convolution(width, width, 3, rngs, stride=second)
        self.bn2 = batch_norm(width, rngs=rngs)
        self.conv3 = convolution(width, width_out, 1, rngs)
        self.bn3 = batch_norm(width_out, rngs=rngs)
        self.downsample = _downsample(width_in, width_out, stride, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        """Features of the block."""
        features = nnx.relu(self.bn1(self.conv1(images)))
        features = nnx.relu(self.bn2(self.conv2(features)))
        return nnx.relu(self.bn3(self.conv3(features)) + self.downsample(images))


def max_pool(features: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """The greatest of 3×3 pixels, every second one."""
    return nnx.max_pool(features, (3, 3), (2, 2), ((1, 1), (1, 1)))  # pyright: ignore[reportArgumentType]


def as_they_are(features: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """The features, not pooled."""
    return features


class Stem(NamedTuple):
    """The side and the stride of the first convolution, and the pooling behind it."""

    side: int
    stride: int
    pool: Callable[[Float[Array, "n h w c"]], Float[Array, "n h2 w2 c"]]


LARGE, SMALL = Stem(7, 2, max_pool), Stem(3, 1, as_they_are)


class Network(nnx.Module):
    """Stem of a convolution and a pooling, four stages, global average, dense layer.

    block: (width in, width out, stride, rngs) -> a block. blocks, widths: number and output channels of the blocks
    of each stage.
    """

    def __init__(
        self,
        stem: Stem,
        block: Callable[[int, int, int, nnx.Rngs], nnx.Module],
        blocks: tuple[int, ...],
        widths: tuple[int, ...],
        image_shape: tuple[int, int, int],
        num_classes: int,
        rngs: nnx.Rngs,
    ):
        def stage(number: int, width_in: int, width_out: int, stride: int) -> nnx.Sequential:
            rest = [block(width_out, width_out, 1, rngs) for _ in range(number - 1)]
            return nnx.Sequential(block(width_in, width_out, stride, rngs), *rest)

        self.pool = stem.pool
        self.conv1 = convolution(image_shape[-1], STEM_WIDTH, stem.side, rngs, stride=stem.stride)
        self.bn1 = batch_norm(STEM_WIDTH, rngs=rngs)
        self.layer1 = stage(blocks[0], STEM_WIDTH, widths[0], 1)
        self.layer2 = stage(blocks[1], widths[0], widths[1], 2)
        self.layer3 = stage(blocks[2], widths[1], widths[2], 2)
        self.layer4 = stage(blocks[3], widths[2], widths[3], 2)
        self.fc = linear(widths[-1], num_classes, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Scores of the classes."""
        features = self.pool(nnx.relu(self.bn1(self.conv1(images))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.fc(features.mean((1, 2)))


def resnet18(stem: Stem, image_shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs) -> Network:
    """Eight basic blocks."""
    return Network(stem, BasicBlock, (2, 2, 2, 2), WIDTHS, image_shape, num_classes, rngs)


def resnet34(stem: Stem, image_shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs) -> Network:
    """Sixteen basic blocks."""
    return Network(stem, BasicBlock, (3, 4, 6, 3), WIDTHS, image_shape, num_classes, rngs)


def resnet50(
    stride_in: Literal["1x1", "3x3"], image_shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs
) -> Network:
    """Sixteen bottlenecks."""
    widths = tuple(EXPANSION * width for width in WIDTHS)
    return Network(LARGE, partial(Bottleneck, stride_in), (3, 4, 6, 3), widths, image_shape, num_classes, rngs)


def _downsample(width_in: int, width_out: int, stride: int, rngs: nnx.Rngs) -> nnx.Sequential:
    """The shortcut: a 1×1 convolution and its norm where the shape changes, else nothing."""
    if width_in == width_out:
        return nnx.Sequential()
    return nnx.Sequential(convolution(width_in, width_out, 1, rngs, stride=stride), batch_norm(width_out, rngs=rngs))
