"""How a picture file becomes a network's input."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image


class Resize(NamedTuple):
    """Shorter side to `size` pixels with antialiasing, then the central `crop` × `crop` pixels.

    The published evaluation pipelines of ImageNet, each with its own numbers; `size` = `crop` keeps the whole
    shorter side.
    """

    size: int = 256
    crop: int = 224
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


MAX_PIXELS = 1 << 26  # of a resized picture: 256 pixels are the shorter side of pictures up to 1024 times as long
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def checked(resize: Resize) -> Resize:
    """`resize` if 1 <= crop <= size and the interpolation is known, else ValueError."""
    if not 1 <= resize.crop <= resize.size:
        raise ValueError(f"resize.crop must lie in 1..resize.size = {resize.size}, got {resize.crop}")
    if resize.interpolation not in FILTERS:
        raise ValueError(f"resize.interpolation must be one of {', '.join(FILTERS)}, got {resize.interpolation!r}")
    return resize


def prepared(picture: Image.Image, resize: Resize) -> Float32[np.ndarray, "h w c"]:
    """A picture of any size and mode as (crop, crop, 3) float32 in [0, 1].

    The longer side is rounded down, the crop's corner to the nearest pixel (half to even), as torchvision's
    `Resize` and `CenterCrop` do on pictures of Pillow. Raises ValueError for one so long that it would be resized to
    more than `MAX_PIXELS`.
    """
    shorter = min(picture.size)
    width, height = (resize.size * side // shorter for side in picture.size)
    if width * height > MAX_PIXELS:
        sides = f"{picture.width} × {picture.height} pixels would become {width} × {height}"
        raise ValueError(f"a picture of {sides}, allowed are {MAX_PIXELS} in all")
    picture = picture.convert("RGB")
    picture = picture.resize((width, height), FILTERS[resize.interpolation])
    left, top = round((width - resize.crop) / 2), round((height - resize.crop) / 2)
    picture = picture.crop((left, top, left + resize.crop, top + resize.crop))
    return np.asarray(picture, np.float32) / np.float32(255)
