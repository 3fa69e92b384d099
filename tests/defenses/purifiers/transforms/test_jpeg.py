"""JPEG beside the real codec, and where it must leave an image alone."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from defenses.purifiers.transforms.jpeg import COSINES, jpeg


def purified(quality: int, images: np.ndarray) -> np.ndarray:
    return np.asarray(jpeg(quality).apply({}, jax.random.split(jax.random.key(0), len(images)), jnp.asarray(images)))


def pictures(channels: int, size: int = 32) -> np.ndarray:
    """Smooth random colours, in whole grey levels."""
    coarse = np.random.default_rng(channels).integers(20, 236, (4, 4, 4, channels)).astype(np.uint8)
    large = [Image.fromarray(c.squeeze()).resize((size, size), Image.Resampling.BICUBIC) for c in coarse]
    return np.stack([np.asarray(p).reshape(size, size, channels) for p in large])


def by_pillow(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file)).reshape(pixels.shape)


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_what_the_codec_gives(channels, quality):
    images = pictures(channels)
    ours = 255 * purified(quality, images.astype(np.float32) / 255)
    theirs = np.stack([by_pillow(one, quality) for one in images])
    gap = np.abs(np.clip(ours, 0, 255) - theirs)
    # the codec rounds pixels to whole levels, and colours on the way in and out, enlarged up to 1.77 times going back
    assert gap.mean() < (0.6 if channels == 1 else 1.2)
    other = np.abs(ours - np.stack([by_pillow(one, 10) for one in images]))
    assert other.mean() > 2 * gap.mean()  # negative control: another quality is far away


def test_a_flat_image_stays_and_fine_detail_goes():
    flat = np.full((1, 16, 16, 1), 144 / 255, np.float32)
    np.testing.assert_allclose(purified(50, flat), flat, atol=1e-6)  # 8 · (144 − 128) is a multiple of 16
    checks = flat + 0.02 * (-1.0) ** np.indices((16, 16)).sum(0)[None, ..., None].astype(np.float32)
    np.testing.assert_allclose(purified(50, checks), flat, atol=1e-6)
    assert np.abs(purified(100, checks) - checks).max() < 0.01


def test_cosines_are_orthonormal():
    np.testing.assert_allclose(COSINES @ COSINES.T, np.eye(8), atol=1e-12)


def test_sides_and_channels():
    assert purified(75, np.zeros((2, 28, 13, 3), np.float32)).shape == (2, 28, 13, 3)
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        purified(75, np.zeros((1, 8, 8, 2), np.float32))
    with pytest.raises(ValueError, match=r"quality must be in \[1, 100\], got 0"):
        jpeg(0)
