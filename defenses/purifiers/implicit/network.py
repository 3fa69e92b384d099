"""The local implicit purifier: features of every pixel's surroundings, and a perceptron that makes a colour of them.

The line LIIF (Chen et al. 2021, arXiv 2012.09161) - DISCO (Ho and Vasconcelos 2022) - PuriDefense (arXiv 2401.10586).
The encoder is EDSR's: residual blocks of two 3×3 convolutions without normalisation. The decoder is asked for the
colours of exactly the pixels that there are, so that unfolding 3×3 features and its first layer are one convolution and
its other layers are 1×1 convolutions. Our choice: the decoder gives what is added to the image, and nothing to begin
with; the papers' decoder gives the colour itself.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

from defenses.classifiers.layers import convolution, linear
from defenses.purifiers.implicit.extras import NONE, Extras, constants, ensembled

Images = Float[Array, "n h w c"]


class Size(NamedTuple):
    """Residual blocks of the encoder, its channels, and the widths of the decoder's hidden layers."""

    blocks: int
    channels: int
    hidden: tuple[int, ...]


SIZES: dict[str, Size] = {
    "tiny": Size(1, 8, (16,)),
    "light": Size(2, 32, (32, 32)),
    "light-wide": Size(1, 32, (64, 64)),
    "light-deep": Size(6, 16, (32, 32)),
    "small": Size(6, 40, (96, 96)),
    "full": Size(16, 64, (256, 256, 256, 256)),
}
"""tiny: for the digits. light: at most 60 k parameters, three encoders for a pool's members. full: DISCO's own."""


class Block(nnx.Module):
    """x + conv(relu(conv(x))), 3×3."""

    def __init__(self, channels: int, rngs: nnx.Rngs):
        self.conv1 = convolution(channels, channels, 3, rngs, bias=True)
        self.conv2 = convolution(channels, channels, 3, rngs, bias=True)

    def __call__(self, features: Images) -> Images:
        """Features of the same shape."""
        return features + self.conv2(nnx.relu(self.conv1(features)))


class Encoder(nnx.Module):
    """EDSR's body: a convolution, residual blocks, a convolution, and a skip over these."""

    def __init__(self, size: Size, colours: int, rngs: nnx.Rngs):
        self.head = convolution(colours, size.channels, 3, rngs, bias=True)
        self.blocks = nnx.List([Block(size.channels, rngs) for _ in range(size.blocks)])
        self.tail = convolution(size.channels, size.channels, 3, rngs, bias=True)

    def __call__(self, images: Images) -> Images:
        """(n, h, w, channels) features."""
        first = features = self.head(images)
        for block in self.blocks:
            features = block(features)
        return first + self.tail(features)


class Decoder(nnx.Module):
    """A perceptron of each pixel's 3×3 features, and of the constants that the extras bring."""

    def __init__(self, size: Size, colours: int, extras: Extras, rngs: nnx.Rngs):
        widths = (*size.hidden, colours)
        self.unfolded = convolution(size.channels, widths[0], 3, rngs, bias=True)
        known = len(constants(extras, (0.0, 0.0)))
        self.known = linear(known, widths[0], rngs) if known else None
        self.layers = nnx.List([linear(a, b, rngs) for a, b in pairwise(widths[:-1])])
        self.colour = linear(widths[-2], widths[-1], rngs, kernel_init=jax.nn.initializers.zeros)
        self.extras = extras

    def __call__(self, features: Images) -> Images:
        """(n, h, w, colours), the colour of every pixel."""
        unfolded = self.unfolded(features)
        return ensembled(self._at, unfolded) if self.extras.ensemble else self._at(unfolded, (0.0, 0.0))

    def _at(self, unfolded: Images, offset: tuple[float, float]) -> Images:
        """The colours at that offset, in feature pixels times two, from the features that were unfolded."""
        hidden = unfolded if self.known is None else unfolded + self.known(constants(self.extras, offset))
        for layer in self.layers:
            hidden = layer(nnx.relu(hidden))
        return self.colour(nnx.relu(hidden))


class Purifier(nnx.Module):
    """m(x) = x + decoder(encoder(2x − 1)), pixels in [0, 1]."""

    def __init__(self, size: Size, colours: int, rngs: nnx.Rngs, extras: Extras = NONE):
        self.encoder = Encoder(size, colours, rngs)
        self.decoder = Decoder(size, colours, extras, rngs)

    def __call__(self, images: Images) -> Images:
        """The purified images, nothing clipped; zeros beyond the border of the features."""
        return images + self.decoder(self.encoder(2 * images - 1))


def initial(size: Size, colours: int, seed: int, extras: Extras = NONE) -> PyTree:
    """Untrained params, nested dictionaries of float32 arrays: m(x) = x."""
    return _drawn(size, colours, extras)(jax.random.key(seed))


def template(size: Size, colours: int, extras: Extras = NONE) -> PyTree:
    """The params' names, shapes and dtypes as `jax.ShapeDtypeStruct`."""
    return nnx.to_pure_dict(_traced(size, colours, extras)[1])


def purifier(size: Size, colours: int, extras: Extras = NONE) -> Callable[[PyTree, Images], Images]:
    """The function (params, (n, h, w, colours) float32 images) -> purified images of the same shape."""
    graph = _traced(size, colours, extras)[0]
    return lambda params, images: nnx.merge(graph, params)(images)


def parameters(size: Size, colours: int) -> int:
    """How many numbers such a purifier has."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(template(size, colours)))


@lru_cache(maxsize=32)
def _traced(size: Size, colours: int, extras: Extras) -> tuple[nnx.GraphDef, nnx.State]:
    return nnx.split(nnx.eval_shape(lambda: Purifier(size, colours, nnx.Rngs(0), extras)))


@lru_cache(maxsize=32)
def _drawn(size: Size, colours: int, extras: Extras) -> Callable[[Key[Array, ""]], PyTree]:
    """Compiled once for all members of a size."""
    return jax.jit(lambda key: nnx.to_pure_dict(nnx.split(Purifier(size, colours, nnx.Rngs(key), extras))[1]))
