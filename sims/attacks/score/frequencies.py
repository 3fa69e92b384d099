"""Images of low frequencies: the inverse of the orthonormal cosine transform, of the lowest ones alone."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def from_frequencies(coefficients: Float[Array, "k l c"], shape: tuple[int, ...]) -> Float[Array, "h w c"]:
    """The image of that shape (h, w, c) with these lowest frequencies and no others; as long in ℓ2 as they are.

    coefficients: k frequencies down the columns, l along the rows, for every channel.
    """
    rows, columns, _ = coefficients.shape
    down, along = (jnp.asarray(cosines(*pair), jnp.float32) for pair in ((shape[0], rows), (shape[1], columns)))
    return jnp.einsum("hk,klc,wl->hwc", down, coefficients, along)


def cosines(side: int, count: int) -> Float[np.ndarray, "side count"]:
    """The `count` lowest of the n = `side` orthonormal cosines (DCT-II), float64, one a column.

    Column k is cos(π (2i + 1) k / 2n) · √(2/n) at pixel i, over √2 at k = 0.
    """
    k = np.arange(count)
    waves = np.cos(np.pi / (2 * side) * np.outer(2 * np.arange(side) + 1, k))
    return waves * np.where(k == 0, math.sqrt(1 / side), math.sqrt(2 / side))
