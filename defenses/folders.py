"""Where things lie on this machine."""

from pathlib import Path
from typing import NamedTuple


class Folders(NamedTuple):
    """models: trained weights, written by training. data: data sets and published weights, in official layouts."""

    models: Path = Path("results/models")
    data: Path = Path("data")
