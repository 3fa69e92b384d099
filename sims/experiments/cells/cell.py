"""Cells: the parts of an experiment that are computed, recorded and reused by themselves.

A cell is one attack on one model, or one measurement of one model. Its key is what computes it: its own question, with
hashes of all that it reads, and the code behind it. An experiment is a join over cells, so that one which asks for more
computes what is new.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from sims.experiments.cells.memory import give_back, held
from sims.experiments.experiment import Context
from sims.records import store
from sims.records.code import code_hash
from sims.records.key import key_of
from sims.records.lock import once
from sims.records.provenance import provenance
from sims.records.store import Record

PLAN = "cells.json"  # in the folder of an unfinished experiment's states: the keys of its cells, by name


class Computed(NamedTuple):
    """What came of a cell: its data, facts for its manifest, and pixels as `store.write` takes them."""

    data: xr.Dataset
    facts: Mapping[str, Any] = MappingProxyType({})
    pixels: Mapping[str, Iterable[np.ndarray]] = MappingProxyType({})


class Cell(NamedTuple):
    """name: says which it is. question: JSON values that decide its result, what it reads by hashes.

    modules: dotted names of those that compute it; what they import counts with them. compute: (folder for states) ->
    the result; a run that was interrupted finds in the folder what it left there.
    """

    name: str
    question: Mapping[str, Any]
    modules: tuple[str, ...]
    compute: Callable[[Path], Computed]


def records_of(context: Context, cells: Sequence[Cell]) -> list[Record]:
    """The cells' records in their order; what there is none of is computed now.

    Raises ValueError for a damaged record, and for a cell that another process computes.
    """
    codes = [code_hash(cell.modules) for cell in cells]
    folders = [context.cells / key_of(cell.question, code) for cell, code in zip(cells, codes, strict=True)]
    _plan(context.checkpoints, {cell.name: folder.name for cell, folder in zip(cells, folders, strict=True)})
    before = held()
    return [_record(*one, before) for one in zip(cells, codes, folders, strict=True)]


def cell_of(record: Record, name: str) -> Record:
    """The cell of that name that an experiment's record is joined from; ValueError where it is not there or damaged."""
    key = record.manifest.get("cells", {}).get(name)
    folder = record.folder.parent / "cells" / str(key)
    if not (folder / "manifest.json").exists():
        raise ValueError(f"record {record.folder} must have its cells beside it, {folder} of {name} is none")
    cell = store.read(folder)
    pictures = record.manifest.get("pictures")
    if cell.manifest.get("cell") != name or cell.manifest["config"].get("pictures") != pictures:
        raise ValueError(f"record {record.folder} must have {name} on its pictures as cell, {folder} is another")
    return cell


def _record(cell: Cell, code: str, folder: Path, before: float) -> Record:
    def compute() -> None:
        _compute(cell, code, folder)
        give_back(before)

    once(folder, compute)
    return store.read(folder)


def _compute(cell: Cell, code: str, folder: Path) -> None:
    states, started = store.states_of(folder), time.perf_counter()
    data, facts, pixels = cell.compute(states)
    manifest = {
        "experiment": "cell",
        "cell": cell.name,
        "config": cell.question,
        "report": {},
        "seconds": time.perf_counter() - started,
        "device": jax.devices()[0].device_kind,
        **provenance(cell.modules, code),
        **facts,
    }
    store.write(folder, data, manifest, pixels)
    shutil.rmtree(states, ignore_errors=True)


def _plan(folder: Path, keys: dict[str, str]) -> None:
    """Write down, for `python -m sims status`, which cells the experiment is joined from."""
    folder.mkdir(parents=True, exist_ok=True)
    known = json.loads((folder / PLAN).read_text()) if (folder / PLAN).exists() else {}
    (folder / f"{PLAN}.part").write_text(json.dumps({**known, **keys}))
    os.replace(folder / f"{PLAN}.part", folder / PLAN)
