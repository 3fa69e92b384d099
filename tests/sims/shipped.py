"""The comparisons that are shipped under figures/data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from sims.records.store import read
from tests.paths import ROOT

DATA = ROOT / "figures" / "data"

Reported = tuple[xr.Dataset, dict[str, Any], dict[str, Any]]


def folders(experiment: str) -> list[Path]:
    """The folders of an experiment's shipped records, by name."""
    return sorted((DATA / experiment).iterdir())


def reported(folder: Path, report: Callable[[xr.Dataset, dict[str, Any]], dict[str, Any]]) -> Reported:
    """The record's arrays and manifest, and the report that `report` makes of them now."""
    _, data, manifest = read(folder)
    return data, manifest, report(data, manifest)
