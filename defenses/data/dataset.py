"""What a data set is: two splits of labelled images, decoded when they are asked for."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8


class Images(Protocol):
    """Images behind an index: `images[rows]` gives (n, h, w, c) float32 in [0, 1], for a slice or integer rows.

    A float32 array is one; bytes and files are scaled or decoded only for the rows asked for.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, c)."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray, /) -> Float32[np.ndarray, "n h w c"]:
        """Those images."""
        ...


@runtime_checkable
class Stored(Protocol):
    """Images that are kept in another form than they are used in."""

    def content(self) -> Iterator[bytes]:
        """What they are kept as."""
        ...


class Split(NamedTuple):
    """Labelled images: images (n, h, w, c), float32 in [0, 1] once indexed; labels (n,) int32 in 0..num_classes−1."""

    images: Images
    labels: Int32[np.ndarray, " n"]


class Dataset(NamedTuple):
    """A data set: `train` to fit on (None where there is none), `test` to measure on.

    image_shape: (h, w, c). classes: names in the order of the labels.
    """

    name: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train: Split | None
    test: Split


@dataclass(frozen=True)
class Bytes:
    """Images kept as (n, h, w, c) uint8; satisfies `Images` by dividing by 255."""

    pixels: UInt8[np.ndarray, "n h w c"]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, c)."""
        return self.pixels.shape

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray) -> Float32[np.ndarray, "n h w c"]:
        """Those images."""
        return self.pixels[rows].astype(np.float32) / np.float32(255)

    def content(self) -> Iterator[bytes]:
        """The bytes, one a value."""
        yield self.pixels.tobytes()


def kept(images: Images, rows: Int[np.ndarray, " n"], at_once: int = 2**24) -> Images:
    """Those images, decoded once: as bytes where a byte a value says all of it, which takes a quarter of the memory.

    at_once: numbers that are decoded to float32 at a time.
    """
    step = max(1, at_once // math.prod(images.shape[1:]))
    parts = [_shortest(images[rows[start : start + step]]) for start in range(0, max(len(rows), 1), step)]
    if all(isinstance(part, Bytes) for part in parts):
        return Bytes(np.concatenate([part.pixels for part in parts if isinstance(part, Bytes)]))
    return np.concatenate([part[:] for part in parts])


def _shortest(values: Float32[np.ndarray, "n h w c"]) -> Images:
    rounded = Bytes(as_bytes(values))
    return rounded if np.array_equal(rounded[:], values) else values


def as_bytes(values: Float32[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
    """Images of [0, 1] rounded to 8 bits."""
    return np.rint(255 * values).astype(np.uint8)


def digest(split: Split) -> str:
    """A sha256 of the labels and of what the images are made of: an array's bytes, or names and bytes of all files."""
    images, labels = split
    found = hashlib.sha256(f"{images.shape}".encode() + labels.tobytes())
    for part in images.content() if isinstance(images, Stored) else [np.asarray(images).tobytes()]:
        found.update(part)
    return found.hexdigest()


def training_images(dataset: Dataset) -> Split:
    """The images to fit on; ValueError where the data set has none."""
    if dataset.train is None:
        raise ValueError(f"dataset must have images to train on, {dataset.name} has none here")
    return dataset.train
