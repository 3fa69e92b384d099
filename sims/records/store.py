"""Records of a run: `<out>/<experiment>/<key>/` with `data.nc` and `manifest.json`.

A folder is written under a temporary name and renamed, so a manifest means that the run is whole. The manifest holds a
digest of the data and one of itself, so that what was edited is never taken for what was measured.
"""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5netcdf
import h5py
import numpy as np
import xarray as xr

REPORT_ROUNDING = 1e-5  # of a mean over the images in float32, summed in another order
PIXELS = ("image", "height", "width", "channel")
FIELDS = {"experiment": str, "config": dict, "report": dict}  # of every manifest


class Record(NamedTuple):
    """A finished run: its folder, its data, and its manifest."""

    folder: Path
    data: xr.Dataset
    manifest: dict[str, Any]


def prepare(out: Path, experiment: str = "") -> None:
    """Create the output folder, or raise ValueError when nothing can be written there (for that experiment)."""
    if (out / experiment).exists() and not (out / experiment).is_dir():
        raise ValueError(f"out must be a writable folder, got {out} ({experiment} in it is a file)")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(f"out must be a writable folder, got {out} ({error.strerror})") from error


def states_of(folder: Path) -> Path:
    """Where a run whose record belongs in that folder saves its states, until the record is whole."""
    return folder.with_name(folder.name + ".checkpoints")


def write(
    folder: Path,
    data: xr.Dataset,
    manifest: Mapping[str, Any],
    pixels: Mapping[str, Iterable[np.ndarray]] = MappingProxyType({}),
) -> Record:
    """Write the record and return it; the folder appears whole or not at all.

    pixels: variables (image, height, width, channel) over the images of the data that are never in memory as a whole:
    each comes as consecutive parts (n, h, w, c), and `pixels_of` reads some of it again.
    """
    part = folder.with_name(f".{folder.name}.part")  # of which a kill may have left another
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        data.to_netcdf(part / "data.nc", engine="h5netcdf")
        for name, parts in pixels.items():
            _append(part / "data.nc", name, parts)
        found = {"pixels": list(pixels), "data_sha256": file_digest(part / "data.nc")}
        full = json.loads(json.dumps({**manifest, **found}, default=str))
        full["manifest_sha256"] = digest(full)
        (part / "manifest.json").write_text(json.dumps(full, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Record(folder, data, full)


def _append(file: Path, name: str, parts: Iterable[np.ndarray]) -> None:
    """One more variable in the file, part after part."""
    with h5netcdf.File(file, "a") as data:
        start, variable = 0, None
        for part in parts:
            if variable is None:
                for dimension, size in zip(PIXELS[1:], part.shape[1:], strict=True):
                    if dimension not in data.dimensions:
                        data.dimensions[dimension] = size
                variable = data.create_variable(name, PIXELS, part.dtype)
            variable[start : start + len(part)] = part
            start += len(part)


def pixels_of(record: Record, name: str, images: slice | Sequence[int] | np.ndarray = slice(None)) -> np.ndarray:
    """(n, h, w, c) what was written as pixels under that name, of these images; places ascend."""
    with h5py.File(record.folder / "data.nc") as data:
        pixels: Any = data[name]
        return pixels[images]


def file_digest(file: Path) -> str:
    """The sha256 of a file's bytes."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digest(manifest: Mapping[str, Any]) -> str:
    """A hash of what the manifest holds, itself left out."""
    held = {name: value for name, value in manifest.items() if name != "manifest_sha256"}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def read(folder: Path) -> Record:
    """The record in that folder, with the FIELDS in its manifest; its data without what `pixels_of` reads.

    ValueError names what is missing, damaged or altered and what to do, or that no record is there.
    """
    if not any((folder / name).exists() for name in ("manifest.json", "data.nc")):
        raise ValueError(f"no record in {folder}; a record is a folder with manifest.json and data.nc")
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        content = file_digest(folder / "data.nc")
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"record {folder} is damaged ({error}); delete the folder and run again") from error
    if fault := _fault(manifest, content):
        raise ValueError(f"record {folder} is damaged ({fault}); delete the folder and run again")
    with xr.open_dataset(folder / "data.nc", engine="h5netcdf") as data:
        return Record(folder, data.drop_vars(manifest.get("pixels", [])).load(), manifest)


def _fault(manifest: Any, data_sha256: str) -> str:
    """What is wrong with a record's manifest or with its data of that sha256, "" where nothing is."""
    if not isinstance(manifest, dict):
        return "manifest.json holds no object"
    if "manifest_sha256" not in manifest:
        return "manifest.json has no digest: it was altered, or made by an older version"
    if manifest["manifest_sha256"] != digest(manifest):
        return "manifest.json was altered"
    if manifest.get("data_sha256") != data_sha256:
        return "data.nc was altered"
    missing = [name for name, kind in FIELDS.items() if not isinstance(manifest.get(name), kind)]
    return f"manifest.json must have {', '.join(missing)}" if missing else ""


def recall(folder: Path) -> Record:
    """Read a finished run's record and make it the newest of its experiment: `latest` gives what was asked for last.

    Raises ValueError as `read` does.
    """
    record = read(folder)
    (folder / "manifest.json").touch()
    return record


def manifests(out: Path, experiment: str) -> list[Path]:
    """The manifests of an experiment's whole records, the newest first."""
    return sorted((out / experiment).glob("[!.]*/manifest.json"), key=lambda path: -path.stat().st_mtime_ns)


def latest(out: Path, experiment: str, variables: tuple[str, ...] = ()) -> Record:
    """The newest whole record of an experiment that has those variables; ValueError names the command to run."""
    found = manifests(out, experiment)
    if not found:
        raise ValueError(f"no record of {experiment} under {out}; run `python -m sims {experiment}` first")
    absent = {}
    for manifest in found:
        record = read(manifest.parent)
        absent[record.folder] = [name for name in variables if name not in record.data]
        if not absent[record.folder]:
            return record
    newest = found[0].parent
    raise ValueError(f"record {newest} has no {', '.join(absent[newest])}; run `python -m sims {experiment}` again")


def report_follows(record: Record, report: Callable[[xr.Dataset, dict[str, Any]], dict[str, Any]]) -> bool:
    """Whether the report that is saved is the one that `report` makes of the arrays."""
    return _same(record.manifest["report"], json.loads(json.dumps(report(record.data, record.manifest))))


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, numbers up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=REPORT_ROUNDING, abs_tol=1e-9)
    return type(one) is type(other) and one == other
