"""What LIIF's decoder sees beside the features, for the ablation: where in a pixel it is asked, and a pixel's size.

A purifier asks for exactly the pixels that there are. The offset within the pixel is then zero and the cell one pixel
everywhere: coordinates, their positional encoding and the cell are constants, which the bias of the decoder's first
layer can hold as well. The local ensemble, the mean of the answers from four neighbours weighted by the opposite areas,
then gives all weight to the pixel itself, but on the last row and the last column, where neighbours coincide.
Source of the forms: the released code of LIIF. PuriDefense leaves them out.
"""

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

NO_AREA = 1e-9  # LIIF adds it to every area


class Extras(NamedTuple):
    """coordinates: the offset within the pixel. frequencies: of its positional encoding, sines and cosines of 2^i π.

    cell: the pixel's size. ensemble: whether the answers of four neighbours are averaged.
    """

    coordinates: bool = False
    frequencies: int = 0
    cell: bool = False
    ensemble: bool = False


NONE = Extras()


def constants(extras: Extras, offset: tuple[float, float]) -> Float[Array, " k"]:
    """(k,) what the decoder is told at that offset, in units in which a pixel is two wide; the same for all pixels."""
    told = list(offset) if extras.coordinates else []
    for i in range(extras.frequencies):
        told += [wave(2**i * math.pi * at) for at in offset for wave in (math.sin, math.cos)]
    return jnp.array(told + ([2.0, 2.0] if extras.cell else []), jnp.float32)


def ensembled(
    answer: Callable[[Float[Array, "n h w c"], tuple[float, float]], Float[Array, "n h w k"]],
    features: Float[Array, "n h w c"],
) -> Float[Array, "n h w k"]:
    """The mean of the answers from the pixel and from its next neighbours below, right and both, as LIIF weights them.

    answer: (features, the offset of the pixel from where they lie) -> colours. The weight of a neighbour is the area
    of the rectangle between the pixel and the neighbour opposite.
    """
    down, right = (_moved(side) for side in features.shape[1:3])
    total = weights = jnp.zeros(())
    for below, beside in product((0, 1), (0, 1)):
        near = _shifted(_shifted(features, 1, below), 2, beside)
        area = 4 * (down * (1 - below))[:, None, None] * (right * (1 - beside))[:, None] + NO_AREA
        total = total + area * _answers(answer, near, down * below, right * beside)
        weights = weights + area
    return total / weights


def _shifted(features: Array, axis: int, by: int) -> Array:
    """At every place the features that lie `by` pixels further, the last ones at the end."""
    side = features.shape[axis]
    return jnp.take(features, jnp.minimum(jnp.arange(side) + by, side - 1), axis=axis)


def _moved(side: int) -> Float[Array, " side"]:
    """1 where the next pixel is another one, 0 for the last, which is its own neighbour."""
    return (jnp.arange(side) < side - 1).astype(jnp.float32)


def _answers(answer, features, rows, columns):
    """The answers where the features lie that many pixels (0 or 1) further than where they are asked for."""
    result = jnp.zeros(())
    for row, column in product((0, 1), (0, 1)):
        here = ((rows == row)[:, None] & (columns == column)[None])[..., None]
        result = jnp.where(here, answer(features, (-2.0 * row, -2.0 * column)), result)
    return result
