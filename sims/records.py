"""Records of a run: `<out>/<experiment>/<hash>/` with `data.nc` and `manifest.json`. Imports no jax.

The hash covers the configuration, the data and weights that it reads, and the source of the packages that computed
it: the same question to the same code is answered from the record. A folder is written under a temporary name and
renamed, so a manifest means that the run is whole. The manifest holds a digest of the data and one of itself, so that
what was edited is never taken for what was measured.
"""

import dataclasses
import hashlib
import json
import math
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

ROOT = Path(__file__).resolve().parent.parent
REPORT_ROUNDING = 1e-5  # of a mean over the images in float32, summed in another order
FIELDS = {"experiment": str, "config": dict, "report": dict}  # of every manifest
PACKAGES = ("jax", "flax", "optax", "numpy", "sympy")


class Record(NamedTuple):
    """A finished run: its folder, its data, and its manifest."""

    folder: Path
    data: xr.Dataset
    manifest: dict[str, Any]


def record_folder(out: Path, experiment: str, config: Any, inputs: Mapping[str, Any]) -> Path:
    """Where the record of that configuration (a frozen dataclass) on those inputs under this code belongs."""
    text = json.dumps([experiment, settings_of(config), inputs, source_hash()], sort_keys=True, default=_content)
    return out / experiment / hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_of(value: Any) -> Any:
    """A configuration as JSON values, but for paths: what is read from text (a choice, a rule) is that text again."""
    if dataclasses.is_dataclass(value) and "__str__" not in vars(type(value)):
        return {field.name: settings_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [settings_of(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str | Path) else str(value)


def _content(value: Any) -> str:
    """What stands for a setting that is no JSON value: of a file its content, not its place."""
    if isinstance(value, Path) and value.is_file():
        return hashlib.sha256(value.read_bytes()).hexdigest()
    return str(value)


def source_hash() -> str:
    """A hash of the source of theory, defenses and sims."""
    digest = hashlib.sha256()
    for package in ("theory", "defenses", "sims"):
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


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


def write(folder: Path, data: xr.Dataset, manifest: Mapping[str, Any]) -> Record:
    """Write the record and return it; the folder appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as temporary:
        part = Path(temporary) / "record"
        part.mkdir()
        data.to_netcdf(part / "data.nc", engine="h5netcdf")
        checksum = hashlib.sha256((part / "data.nc").read_bytes()).hexdigest()
        full = json.loads(json.dumps({**manifest, "data_sha256": checksum}, default=str))
        full["manifest_sha256"] = digest(full)
        (part / "manifest.json").write_text(json.dumps(full, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    return Record(folder, data, full)


def digest(manifest: Mapping[str, Any]) -> str:
    """A hash of what the manifest holds, itself left out."""
    held = {name: value for name, value in manifest.items() if name != "manifest_sha256"}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def read(folder: Path) -> Record:
    """The record in that folder, with the FIELDS in its manifest.

    ValueError names what is missing, damaged or altered and what to do, or that no record is there.
    """
    if not any((folder / name).exists() for name in ("manifest.json", "data.nc")):
        raise ValueError(f"no record in {folder}; a record is a folder with manifest.json and data.nc")
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        content = (folder / "data.nc").read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"record {folder} is damaged ({error}); delete the folder and run again") from error
    if fault := _fault(manifest, content):
        raise ValueError(f"record {folder} is damaged ({fault}); delete the folder and run again")
    with xr.open_dataset(folder / "data.nc", engine="h5netcdf") as data:
        return Record(folder, data.load(), manifest)


def _fault(manifest: Any, content: bytes) -> str:
    """What is wrong with a record's manifest or with the bytes of its data, "" where nothing is."""
    if not isinstance(manifest, dict):
        return "manifest.json holds no object"
    if "manifest_sha256" not in manifest:
        return "manifest.json has no digest: it was altered, or made by an older version"
    if manifest["manifest_sha256"] != digest(manifest):
        return "manifest.json was altered"
    if manifest.get("data_sha256") != hashlib.sha256(content).hexdigest():
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


def provenance() -> dict[str, Any]:
    """Command, commit, source hash, versions and machine of this process."""
    return {
        "argv": sys.argv[1:],
        "commit": _commit(),
        "source": source_hash(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": platform.machine(),
    }


def _commit() -> str:
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()
