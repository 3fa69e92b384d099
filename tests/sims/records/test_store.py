"""Records of runs: whole or absent, never silently damaged, keyed by the question and the code."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sims.records import store
from sims.records.code import ROOT
from sims.records.provenance import PACKAGES, provenance
from tests.sims.edited import MISSING, edited

DATA = xr.Dataset(
    {"queries": (("image", "seed"), np.arange(6).reshape(3, 2), {"unit": "queries"})}, coords={"seed": [0, 7]}
)
MANIFEST = {"experiment": "attack", "config": {"budget": 100}, "report": {"rows": [{"robust": 0.5}]}, "seed": 0}


@dataclasses.dataclass(frozen=True)
class Config:
    budget: int = 100
    radius: float = 0.1


def test_what_is_written_is_read_back(tmp_path):
    folder = tmp_path / "attack" / "abc"
    written = store.write(folder, DATA, MANIFEST)
    read = store.read(folder)
    assert read.folder == written.folder == folder
    assert read.manifest == written.manifest
    assert read.manifest["config"] == {"budget": 100}
    assert read.data.identical(DATA)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["abc"]
    assert sorted(path.name for path in folder.iterdir()) == ["data.nc", "manifest.json"]


def test_pixels_come_in_parts_and_are_read_in_parts(tmp_path):
    """As if they had been there as a whole, but in no memory."""
    images = np.random.default_rng(0).random((5, 4, 3, 2), dtype=np.float32)
    data = xr.Dataset({"queries": ("image", np.arange(5))}, {"image": np.arange(5) + 7})
    whole = store.write(tmp_path / "a", data, MANIFEST, {"pixels": [images]})
    written = store.write(tmp_path / "b", data, MANIFEST, {"pixels": (images[at : at + 2] for at in (0, 2, 4))})
    for record in (whole, written, store.read(tmp_path / "b")):
        assert record.data.identical(data)
        np.testing.assert_array_equal(store.pixels_of(record, "pixels"), images)
        np.testing.assert_array_equal(store.pixels_of(record, "pixels", slice(1, 4)), images[1:4])
    with xr.open_dataset(tmp_path / "b" / "data.nc", engine="h5netcdf") as file:
        assert file.pixels.dims == store.PIXELS
        assert file.pixels.dtype == np.float32
        np.testing.assert_array_equal(file.pixels.sel(image=9), images[2])


def test_writing_again_replaces(tmp_path):
    store.write(tmp_path / "run", DATA, MANIFEST)
    store.write(tmp_path / "run", DATA + 1, MANIFEST | {"seed": 1})
    again = store.read(tmp_path / "run")
    assert again.manifest["seed"] == 1
    assert again.data.equals(DATA + 1)


def crash_in_data(self, path, **options):
    Path(path).write_bytes(b"half of it")
    raise KeyboardInterrupt


def crash_in_manifest(self, text, *rest):
    self.write_bytes(text.encode()[: len(text) // 2])
    raise KeyboardInterrupt


def crash_in_rename(self, target):
    raise KeyboardInterrupt


CRASHES = {
    "data": (xr.Dataset, "to_netcdf", crash_in_data),
    "manifest": (Path, "write_text", crash_in_manifest),
    "rename": (Path, "rename", crash_in_rename),
}


@pytest.mark.parametrize("stage", CRASHES)
def test_a_crash_leaves_no_manifest(tmp_path, monkeypatch, stage):
    folder = tmp_path / "attack" / "abc"
    monkeypatch.setattr(*CRASHES[stage])
    with pytest.raises(KeyboardInterrupt):
        store.write(folder, DATA, MANIFEST)
    monkeypatch.undo()
    assert list(folder.parent.iterdir()) == []
    (folder.parent / ".abc.part").mkdir()  # as a kill leaves it
    store.write(folder, DATA, MANIFEST)
    assert store.read(folder).data.equals(DATA)
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("stage", ["data", "manifest"])
def test_a_crash_before_the_swap_keeps_the_old_record(tmp_path, monkeypatch, stage):
    store.write(tmp_path / "run", DATA, MANIFEST)
    monkeypatch.setattr(*CRASHES[stage])
    with pytest.raises(KeyboardInterrupt):
        store.write(tmp_path / "run", DATA + 1, MANIFEST)
    monkeypatch.undo()
    assert store.read(tmp_path / "run").data.equals(DATA)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "data altered": lambda folder: flip_a_byte(folder / "data.nc"),
    "data truncated": lambda folder: os.truncate(folder / "data.nc", 100),
    "data missing": lambda folder: (folder / "data.nc").unlink(),
    "manifest truncated": lambda folder: os.truncate(folder / "manifest.json", 20),
    "manifest binary": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"),
    "manifest missing": lambda folder: (folder / "manifest.json").unlink(),
    "manifest a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "checksum missing": lambda folder: (folder / "manifest.json").write_text(json.dumps(MANIFEST)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_noticed_and_the_folder_named(tmp_path, damage):
    folder = store.write(tmp_path / "attack" / "abc", DATA, MANIFEST).folder
    store.read(folder)
    damage(folder)
    with pytest.raises(ValueError, match=f"record {folder} is damaged .*delete the folder and run again"):
        store.read(folder)


OTHER_TYPES = (None, 7, "text", [], {}, True)


def edits(value, *path):
    """(path, new value) that removes, adds or retypes one entry of a JSON value, or changes a number in it."""
    if isinstance(value, dict):
        yield (*path, "added"), 1
        for key, part in value.items():
            yield (*path, key), MISSING
            yield from edits(part, *path, key)
    if isinstance(value, list) and value:
        yield from edits(value[0], *path, 0)
    if path:
        yield from ((path, other) for other in OTHER_TYPES if type(other) is not type(value))
    if isinstance(value, int | float):
        yield path, value + 1e-9


def test_no_edit_of_a_manifest_is_taken_for_a_result(tmp_path):
    record = store.write(tmp_path / "attack" / "abc", DATA, MANIFEST)
    for path, value in edits(record.manifest):
        (record.folder / "manifest.json").write_text(json.dumps(edited(record.manifest, path, value)))
        with pytest.raises(ValueError, match=r"is damaged \(manifest.json (was altered|has no digest: it was)"):
            store.read(record.folder)
    (record.folder / "manifest.json").write_text(json.dumps(record.manifest))  # as another program would write it
    assert store.read(record.folder).manifest == record.manifest


@pytest.mark.parametrize("name", store.FIELDS)
def test_a_manifest_must_have_its_fields_even_if_its_digest_is_right(tmp_path, name):
    for manifest in ({**MANIFEST, name: 7}, {key: value for key, value in MANIFEST.items() if key != name}):
        folder = store.write(tmp_path / "abc", DATA, manifest).folder
        with pytest.raises(ValueError, match=rf"is damaged \(manifest.json must have {name}\)"):
            store.read(folder)


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_a_folder_without_a_record_is_not_called_damaged(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"^no record in {tmp_path / name}; a record is a folder with manifest.json"):
        store.read(tmp_path / name)


def test_latest_is_the_newest_whole_record(tmp_path):
    for age, name in ((20, "older"), (10, "newer"), (30, "oldest")):
        folder = store.write(tmp_path / "attack" / name, DATA, MANIFEST | {"name": name}).folder
        os.utime(folder / "manifest.json", ns=(0, (100 - age) * 10**9))
    part = tmp_path / "attack" / ".x.part"  # what a killed run leaves behind
    store.write(part / "record", DATA, MANIFEST | {"name": "part"})
    (part / "manifest.json").write_text("{}")
    (tmp_path / "attack" / "unfinished").mkdir()
    assert store.latest(tmp_path, "attack").manifest["name"] == "newer"


def test_no_record_names_the_command(tmp_path):
    with pytest.raises(ValueError, match=r"no record of moments under .*`python -m sims moments`"):
        store.latest(tmp_path, "moments")


def test_an_output_that_is_a_file_is_refused(tmp_path):
    store.prepare(tmp_path / "new" / "out", "moments")
    assert list((tmp_path / "new" / "out").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out must be a writable folder, got .*file"):
        store.prepare(tmp_path / "file", "moments")


def test_provenance_says_what_ran():
    about = provenance(["sims.engine.run"], "code")
    assert set(about["versions"]) == {"python", *PACKAGES}
    json.dumps(about)


def test_the_reader_needs_no_jax():
    check = "import sys, sims.records.store; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0
