"""How a picture file becomes a network's input."""

from typing import Literal, NamedTuple


class Resize(NamedTuple):
    """Shorter side to `size` pixels with antialiasing, then the central `crop` × `crop` pixels.

    The published evaluation pipelines of ImageNet, each with its own numbers; `size` = `crop` keeps the whole
    shorter side.
    """

    size: int = 256
    crop: int = 224
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
