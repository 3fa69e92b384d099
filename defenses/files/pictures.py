"""Images that are files, decoded when they are asked for."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from defenses.files import png
from defenses.files.resize import Resize, as_it_is, prepared

DAMAGED = (OSError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises for damaged and absurd files
GREYSCALE = ("1", "L", "LA")  # Pillow's modes of one colour channel with at most 8 bits


@dataclass(frozen=True)
class Pictures:
    """Picture files as `Images`: decoded, resized and cropped for the rows asked for, nothing is kept.

    image_shape: (h, w, c) of every image, c 1 or 3; (crop, crop, c) with a resize, without one what the files hold.
    """

    paths: tuple[Path, ...]
    image_shape: tuple[int, int, int]
    resize: Resize | None

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, c)."""
        return len(self.paths), *self.image_shape

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray) -> Float32[np.ndarray, "n h w c"]:
        """Those images; ValueError names a file that is no whole picture."""
        chosen = np.arange(len(self))[rows]
        images = np.empty((len(chosen), *self.shape[1:]), np.float32)
        for image, row in zip(images, chosen, strict=True):
            image[:] = self._decoded(self.paths[row])
        return images

    def content(self) -> Iterator[bytes]:
        """Name and bytes of every file."""
        for path in self.paths:
            yield path.name.encode() + hashlib.sha256(path.read_bytes()).digest()

    def _decoded(self, path: Path) -> Float32[np.ndarray, "h w c"]:
        channels = self.image_shape[2]
        with _named(path), opened(path) as picture:
            _check_png(path, picture)
            image = prepared(picture, self.resize, channels) if self.resize else as_it_is(picture, channels)
            if image.shape != self.image_shape:
                raise ValueError(f"shape must be {self.image_shape}, got {image.shape}")
            return image


def opened(path: Path) -> Image.Image:
    """A picture file, not decoded yet: JPEG or PNG, the two that ImageNet holds; no other reader of Pillow runs."""
    return Image.open(path, formats=("JPEG", "PNG"))


def shape_of(path: Path) -> tuple[int, int, int]:
    """(height, width, channels) of a picture by its header, 1 channel where it is greyscale, else 3.

    Raises ValueError that names a file that is no picture, or greyscale of 16 bits, which Pillow would cut to 8.
    """
    with _named(path), opened(path) as picture:
        if picture.mode.startswith("I"):
            raise ValueError(f"greyscale must have at most 8 bits, got {picture.mode!r}")
        return picture.height, picture.width, 1 if picture.mode in GREYSCALE else 3


def require_whole(path: Path) -> None:
    """Raise ValueError unless the file is a picture to its end; decodes an eighth of its resolution where it can."""
    with _named(path), opened(path) as picture:
        _check_png(path, picture)
        picture.draft("RGB", (max(1, picture.width // 8), max(1, picture.height // 8)))
        picture.load()


def _check_png(path: Path, picture: Image.Image) -> None:
    if picture.format == "PNG":
        png.require_whole(path.read_bytes())


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what is raised about it."""
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{path} must be a whole picture file ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
