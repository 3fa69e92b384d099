"""Where things lie on this machine."""

import os
from pathlib import Path
from typing import NamedTuple


class Folders(NamedTuple):
    """models: trained weights, written by training. data: data sets and published weights, in official layouts."""

    models: Path = Path("results/models")
    data: Path = Path("data")


def data_folder() -> Path:
    """The folder that $PUREBOUND_DATA names, else `data`."""
    return Path(os.environ.get("PUREBOUND_DATA") or "data")
