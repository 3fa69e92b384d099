"""How a picture file becomes a network's input."""

import contextlib
import re
from typing import Any, Literal, NamedTuple

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
MODES = {1: "L", 3: "RGB"}  # Pillow's name for 8 bits in so many channels


def checked(resize: Resize) -> Resize:
    """`resize` if 1 <= crop <= size and the interpolation is known, else ValueError."""
    if not 1 <= resize.crop <= resize.size:
        raise ValueError(f"resize.crop must lie in 1..resize.size = {resize.size}, got {resize.crop}")
    if resize.interpolation not in FILTERS:
        raise ValueError(f"resize.interpolation must be one of {', '.join(FILTERS)}, got {resize.interpolation!r}")
    return resize


def resize_of(text: str) -> Resize:
    """The resize that `--resize` spells: `256:224:bicubic`, `256:224`, or `32` for 32:32; else ValueError."""
    found = re.fullmatch(r"([0-9]{1,9})(?::([0-9]{1,9})(?::([a-z]+))?)?", text)
    if found:
        size, crop, interpolation = found.groups()
        chosen: Any = interpolation or Resize().interpolation
        with contextlib.suppress(ValueError):
            return checked(Resize(int(size), int(crop or size), chosen))
    forms = "SIZE, SIZE:CROP or SIZE:CROP:INTERPOLATION"
    allowed = f"{forms}, 1 <= CROP <= SIZE, INTERPOLATION one of {', '.join(FILTERS)}"
    raise ValueError(f"--resize must be {allowed}, got {text!r}")


def prepared(picture: Image.Image, resize: Resize, channels: int = 3) -> Float32[np.ndarray, "h w c"]:
    """A picture of any size and mode as (crop, crop, channels) float32 in [0, 1]; channels: 1 or 3.

    The longer side is rounded down, the crop's corner to the nearest pixel (half to even), as torchvision's
    `Resize` and `CenterCrop` do on pictures of Pillow. Raises ValueError for one so long that it would be resized to
    more than `MAX_PIXELS`.
    """
    shorter = min(picture.size)
    width, height = (resize.size * side // shorter for side in picture.size)
    if width * height > MAX_PIXELS:
        sides = f"{picture.width} × {picture.height} pixels would become {width} × {height}"
        raise ValueError(f"a picture of {sides}, allowed are {MAX_PIXELS} in all")
    picture = picture.convert(MODES[channels])
    picture = picture.resize((width, height), FILTERS[resize.interpolation])
    left, top = round((width - resize.crop) / 2), round((height - resize.crop) / 2)
    return as_it_is(picture.crop((left, top, left + resize.crop, top + resize.crop)), channels)


def as_it_is(picture: Image.Image, channels: int = 3) -> Float32[np.ndarray, "h w c"]:
    """A picture of any mode as (height, width, channels) float32 in [0, 1], not resized; channels: 1 or 3."""
    pixels = np.asarray(picture.convert(MODES[channels]), np.float32)
    return np.atleast_3d(pixels) / np.float32(255)
