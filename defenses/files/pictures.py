"""Images that are files, decoded when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from defenses.files.resize import Resize, prepared

DAMAGED = (OSError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises for damaged and absurd files


@dataclass(frozen=True)
class Pictures:
    """Picture files as `Images`: decoded, resized and cropped for the rows asked for, nothing is kept."""

    paths: tuple[Path, ...]
    resize: Resize

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, crop, crop, 3)."""
        return len(self.paths), self.resize.crop, self.resize.crop, 3

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

    def _decoded(self, path: Path) -> Float32[np.ndarray, "h w c"]:
        try:
            with opened(path) as picture:
                return prepared(picture, self.resize)
        except DAMAGED as error:
            raise ValueError(f"{path} must be a whole picture file ({error})") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def opened(path: Path) -> Image.Image:
    """A picture file, not decoded yet: JPEG or PNG, the two that ImageNet holds; no other reader of Pillow runs."""
    return Image.open(path, formats=("JPEG", "PNG"))


def require_whole(path: Path) -> None:
    """Raise ValueError unless the file is a picture to its end; decodes an eighth of its resolution where it can."""
    try:
        with opened(path) as picture:
            picture.draft("RGB", (max(1, picture.width // 8), max(1, picture.height // 8)))
            picture.load()
    except DAMAGED as error:
        raise ValueError(f"{path} must be a whole picture file ({error})") from error
