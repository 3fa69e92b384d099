"""`python -m sims status`: every state that a record or a cell can be in."""

import json

import numpy as np
import pytest
import xarray as xr

from sims.command_line import main
from sims.experiments.cells.cell import PLAN
from sims.records import store
from sims.records.code import code_hash
from sims.records.key import versions
from sims.records.lock import alone

MODULES = ["sims.engine.run"]
FRESH = {"config": {}, "report": {}, "modules": MODULES, "code": code_hash(MODULES), "needs": versions()}
DATA = xr.Dataset({"queries": ("image", np.arange(3))})


def record(folder, **changed):
    store.write(folder, DATA, {"experiment": folder.parent.name, **FRESH, **changed})


def states(out, capsys):
    assert main(["status", "--out", str(out), "--json"]) == 0
    return {(row["record"], row["cell"]): row["state"] for row in json.loads(capsys.readouterr().out)}


def test_every_state(tmp_path, capsys):
    folder = tmp_path / "attack"
    cells = {f"{name} on none": name for name in ("done", "older", "damaged", "missing", "running")}
    record(folder / "joined", cells=cells)
    record(folder / "cells" / "done")
    record(folder / "cells" / "older", code="another")
    record(folder / "cells" / "damaged")
    (folder / "cells" / "damaged" / "manifest.json").write_text("{")
    record(folder / "other-jax", needs={"jax": "0.0"})
    record(folder / "gone", modules=["sims.engine.removed"])
    (folder / "killed.checkpoints").mkdir()
    (folder / "killed.checkpoints" / PLAN).write_text(json.dumps({"nes on none": "done", "null on none": "next"}))
    with alone(folder / "cells" / "running"):
        found = states(tmp_path, capsys)
    assert found == {
        ("joined", ""): "done",
        **{("joined", name): "stale" if key == "older" else key for name, key in cells.items()},
        ("other-jax", ""): "stale",
        ("gone", ""): "stale",
        ("killed", ""): "missing",
        ("killed", "nes on none"): "done",
        ("killed", "null on none"): "missing",
    }
    assert main(["status", "--out", str(tmp_path)]) == 0
    assert "nes on none" in capsys.readouterr().out


def test_nothing_there(tmp_path, capsys):
    assert states(tmp_path, capsys) == {}
    assert main(["status", "--out", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: out must be a folder of records, got ")


@pytest.mark.parametrize("name", ["moments", "verify"])
def test_records_without_cells(tmp_path, capsys, name):
    record(tmp_path / name / "one")
    assert states(tmp_path, capsys) == {("one", ""): "done"}
