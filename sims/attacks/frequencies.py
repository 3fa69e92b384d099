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
    return jnp.einsum("hk,klc,wl->hwc", cosines(shape[0], rows), coefficients, cosines(shape[1], columns))


def cosines(side: int, count: int) -> Float[np.ndarray, "side count"]:
    """The `count` lowest of the `side` orthonormal cosines (DCT-II), one a column: cos(π (2i + 1) k / 2n) · √(2/n)."""
    k = np.arange(count)
    waves = np.cos(np.pi / (2 * side) * np.outer(2 * np.arange(side) + 1, k))
    return (waves * np.where(k == 0, math.sqrt(1 / side), math.sqrt(2 / side))).astype(np.float32)
