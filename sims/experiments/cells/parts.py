"""Parts of a cell: consecutive images, each part written when it is done, so that memory ends with one of them.

What becomes of an image does not depend on its part: all begin with a tile, and none is smaller than one.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from sims.experiments.cells.cell import Computed
from sims.records import store
from sims.records.store import Record

NUMBERS = 2**23  # of the images of a part, 32 MB in float32


def parts_of(images: int, image_shape: tuple[int, ...], tile: int) -> list[slice]:
    """Consecutive slices that together are all images: whole tiles of them, as many as may be, and the rest."""
    tiles = max(1, NUMBERS // (tile * math.prod(image_shape)))
    starts = [*range(0, max(images - tile, 0) + 1, tiles * tile)]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], images], strict=True)]


def in_parts(folder: Path, parts: list[slice], compute: Callable[[slice, Path], Computed]) -> list[Record]:
    """The record of every part; those that the folder has already are not computed again.

    compute: (the part, folder for its saved states) -> its result.
    """
    records = []
    for part in parts:
        there, state = folder / f"part-{part.start}", folder / f"state-{part.start}"
        if not (there / "manifest.json").exists():
            data, facts, pixels = compute(part, state)
            store.write(there, data, {"experiment": "part", "config": {}, "report": {}, **facts}, pixels)
            shutil.rmtree(state, ignore_errors=True)
        records.append(store.read(there))
    return records


def joined(records: list[Record]) -> xr.Dataset:
    """The data of all parts, over their images."""
    return xr.concat([record.data for record in records], "image", data_vars="minimal", join="exact")


def pixels_in_parts(records: list[Record], name: str) -> Iterator[np.ndarray]:
    """What the parts hold under that name, one part at a time."""
    return (store.pixels_of(record, name) for record in records)
