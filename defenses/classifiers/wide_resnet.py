"""Wide residual networks: three stages of pre-activation blocks, few layers, many channels.

Source: Zagoruyko and Komodakis, Wide Residual Networks (2016); names as in xternalz/WideResNet-pytorch and RobustBench.
"""

from itertools import pairwise

from flax import nnx
from jaxtyping import Array, Float

from defenses.classifiers.layers import batch_norm, convolution, linear
from defenses.training.recipe import Recipe

RECIPE = Recipe(40, 128, 0.1, 5e-4, "cosine")
"""After Zagoruyko and Komodakis (2016), section 3: 200 epochs, the rate divided by 5 at 60, 120 and 160."""

STEM_WIDTH = 16
WIDTHS = (16, 32, 64)


class Block(nnx.Module):
    """Norm and ReLU before each of two 3×3 convolutions; a 1×1 convolution as shortcut where the width changes."""

    def __init__(self, width_in: int, width_out: int, stride: int, rngs: nnx.Rngs):
        self.bn1 = batch_norm(width_in, rngs=rngs)
        self.conv1 = convolution(width_in, width_out, 3, rngs, stride=stride)
        self.bn2 = batch_norm(width_out, rngs=rngs)
        self.conv2 = convolution(width_out, width_out, 3, rngs)
        self.shortcut = None if width_in == width_out else convolution(width_in, width_out, 1, rngs, stride=stride)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        """Features of the block."""
        activated = nnx.relu(self.bn1(images))
        features = self.conv2(nnx.relu(self.bn2(self.conv1(activated))))
        return features + (images if self.shortcut is None else self.shortcut(activated))


class Network(nnx.Module):
    """Stem, three stages of (depth − 4)/6 blocks of 16, 32, 64 × `widening` channels, average, dense layer.

    Dropout, which the paper uses inside some blocks, is left out.
    """

    def __init__(self, depth: int, widening: int, image_shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs):
        blocks = (depth - 4) // 6
        widths = (STEM_WIDTH, *(width * widening for width in WIDTHS))
        self.conv1 = convolution(image_shape[-1], STEM_WIDTH, 3, rngs)
        self.block1, self.block2, self.block3 = (
            _stage(blocks, before, after, stride, rngs)
            for (before, after), stride in zip(pairwise(widths), (1, 2, 2), strict=True)
        )
        self.bn1 = batch_norm(widths[-1], rngs=rngs)
        self.fc = linear(widths[-1], num_classes, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Scores of the classes."""
        features = self.block3(self.block2(self.block1(self.conv1(images))))
        return self.fc(nnx.relu(self.bn1(features)).mean((1, 2)))


def _stage(blocks: int, width_in: int, width_out: int, stride: int, rngs: nnx.Rngs) -> nnx.Sequential:
    rest = [Block(width_out, width_out, 1, rngs) for _ in range(blocks - 1)]
    return nnx.Sequential(Block(width_in, width_out, stride, rngs), *rest)
