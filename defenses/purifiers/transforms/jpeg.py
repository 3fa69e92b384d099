"""JPEG compression as a fixed transform: the discrete cosine transform of 8 × 8 blocks, quantised.

What a JPEG file loses is lost here: colours go to YCbCr (JFIF), every block's cosine coefficients are divided by the
standard's tables, scaled by the quality as the Independent JPEG Group does, and rounded. Nothing is subsampled, and
pixels are neither rounded to 8 bits nor clipped, so that a probe outside the box stays outside.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from defenses.defense import Defense
from defenses.purifiers.method import Method

BLOCK = 8
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMINANCE = np.full((BLOCK, BLOCK), 99)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
COSINES = np.cos(np.pi * np.outer(np.arange(BLOCK), 2 * np.arange(BLOCK) + 1) / (2 * BLOCK)) / 2
COSINES[0] /= np.sqrt(2)  # orthonormal: row k is the k-th cosine


@dataclass(frozen=True)
class Jpeg:
    """Settings of the compression."""

    quality: int = 75
    """As encoders count it: from 1, the coarsest, to 100."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be in [1, 100], got {self.quality}")


def jpeg(quality: int) -> Defense:
    """Images of 1 (grey) or 3 (RGB) channels as a JPEG file of that quality shows them; raises as `Jpeg` does.

    Sides that 8 does not divide are continued by their last pixels. Raises ValueError for other channel counts.
    """
    tables = {1: _tables(Jpeg(quality).quality)[:1], 3: _tables(quality)}

    def apply(params, keys, images):
        if images.shape[-1] not in tables:
            raise ValueError(f"jpeg takes images of 1 or 3 channels, got {images.shape[-1]}")
        colours = TO_YCBCR if images.shape[-1] == 3 else np.eye(1)
        levels = _quantised(_along(-1, colours, 255 * images), tables[images.shape[-1]])
        return _along(-1, np.linalg.inv(colours), levels) / 255

    return Defense("jpeg", {}, apply, False)


def _quantised(channels: Float[Array, "n h w c"], tables: np.ndarray) -> Float[Array, "n h w c"]:
    """The channels, in grey levels, after their blocks' coefficients were rounded to multiples of tables (c, 8, 8)."""
    _, height, width, count = channels.shape
    border = ((0, 0), (0, -height % BLOCK), (0, -width % BLOCK), (0, 0))
    padded = jnp.pad(channels, border, mode="edge")
    middle = jnp.array([128.0, 0.0, 0.0])[:count]
    blocks = (padded - middle).reshape(len(padded), -1, BLOCK, padded.shape[2] // BLOCK, BLOCK, count)
    steps = jnp.asarray(tables, jnp.float32).transpose(1, 2, 0)[:, None]
    found = _along(4, COSINES, _along(2, COSINES, blocks))
    kept = jnp.round(found / steps) * steps
    back = _along(4, COSINES.T, _along(2, COSINES.T, kept))
    return back.reshape(padded.shape)[:, :height, :width] + middle


def _along(axis: int, matrix: np.ndarray, values: Array) -> Array:
    """The square matrix applied along one axis, as a sum of its columns: a row's bits are those of any batch."""
    moved = jnp.moveaxis(values, axis, -1)
    columns = matrix.astype(np.float32).T
    return jnp.moveaxis(reduce(add, [moved[..., i, None] * columns[i] for i in range(len(matrix))]), -1, axis)


def _tables(quality: int) -> np.ndarray:
    """(3, 8, 8) steps of the luminance and both chrominances; quality 50 has the standard's own."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    standard = np.stack([LUMINANCE, CHROMINANCE, CHROMINANCE])
    return np.clip((standard * scale + 50) // 100, 1, 255)


METHOD = Method(
    Jpeg,
    lambda settings, _: jpeg(settings.quality),
    "ITU-T T.81 (1992), annex K; as a defence: Dziugaite et al. 2016, arXiv 1608.00853; quality chosen here",
)
