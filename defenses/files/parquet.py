"""Labelled pictures in a parquet file, as Hugging Face keeps them; read through pyarrow, an extra."""

# pyright: reportMissingImports=false
# (pyarrow is one of the extra [parquet])

import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

INSTALL = "`pip install -e '.[parquet]'` installs it"


def labelled_pictures(
    path: Path, pictures: str, labels: str, shape: tuple[int, int, int]
) -> tuple[UInt8[np.ndarray, "n h w c"], UInt8[np.ndarray, " n"]]:
    """All PNG pictures of the column `pictures`, {bytes, path}, and their numbers 0..255 of the column `labels`.

    shape: (h, w, 3) that every picture must have. Raises ValueError that names the file where pyarrow is not installed,
    the file is no parquet, has not these columns, or holds anything else.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise ValueError(f"{path} is read through pyarrow, which is not here: {INSTALL}") from error
    try:
        table = read_table(path, columns=[pictures, labels]).to_pydict()
        images = np.stack([_decoded(cell, shape) for cell in table[pictures]])
        return images, np.array(table[labels], np.uint8)
    except (ArrowException, OSError, SyntaxError, KeyError, TypeError, ValueError, OverflowError) as error:
        held = f"PNG pictures of shape {shape} in a column `{pictures}`, and a column `{labels}`"
        raise ValueError(f"{path} must be a parquet file with {held} ({error})") from error


def _decoded(cell: Any, shape: tuple[int, int, int]) -> UInt8[np.ndarray, "h w c"]:
    with Image.open(io.BytesIO(cell["bytes"]), formats=("PNG",)) as picture:
        if picture.mode != "RGB" or (picture.height, picture.width, 3) != shape:
            raise ValueError(f"a picture has mode {picture.mode} and size {picture.width} × {picture.height}")
        return np.asarray(picture)
