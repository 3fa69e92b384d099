"""What an experiment makes of its cells: one data set over defences and attacks, and the facts of all of them."""

from collections.abc import Sequence
from typing import Any

import xarray as xr

from sims.records.store import Record

EQUAL: Any = {"data_vars": "all", "join": "exact", "combine_attrs": "override"}  # cells have the same images


def join(
    attacked: Sequence[xr.Dataset],
    measured: Sequence[Sequence[xr.Dataset]],
    defenses: Sequence[str],
    attacks: Sequence[str],
) -> xr.Dataset:
    """attacked: of every defence its attacks, over (defense, attack). measured: lists with one of every defence."""
    count = len(attacks)
    rows = [list(attacked[start : start + count]) for start in range(0, len(attacked), count)]
    tables = [xr.combine_nested(rows, ["defense", "attack"], **EQUAL)]
    tables += [xr.concat(list(one), "defense", **EQUAL) for one in measured]
    data = xr.merge(tables, join="exact", combine_attrs="drop").transpose("defense", "attack", "image", ...)
    return data.assign_coords({"defense": list(defenses), "attack": list(attacks)})


def keys_of(cells: Sequence[Record]) -> dict[str, str]:
    """The keys of the cells, by their names."""
    return {cell.manifest["cell"]: cell.folder.name for cell in cells}


def rows_of(attacked: Sequence[Record]) -> dict[str, int]:
    """What all of them cost: rows forwarded for an image, and only to fill a tile."""
    return {
        "queries": sum(cell.manifest["evaluated"] for cell in attacked),
        "waste": sum(cell.manifest["padded"] for cell in attacked),
    }
