"""What lies under a folder of results: done, running, stale, or missing, cell by cell.

Stale is what other code or other versions of jax or flax have computed than those that are here now: it can still be
read and drawn, and the same command computes it again.
"""

from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

from defenses.commands.tables import print_table
from sims.experiments.cells.cell import PLAN
from sims.experiments.experiment import EXPERIMENTS
from sims.records.code import code_hash
from sims.records.key import versions
from sims.records.lock import is_running
from sims.records.store import states_of

COLUMNS = ("experiment", "record", "cell", "state")


def list_status(out: Path = Path("results"), json: bool = False) -> int:
    """Every record and every cell of the experiments under a folder: done, running, stale (of older code) or missing.

    Args:
        out: Folder of the records.
        json: Print one JSON document and nothing else.
    """
    if not out.is_dir():
        raise ValueError(f"out must be a folder of records, got {out}")
    rows = [row for name in EXPERIMENTS for row in _experiment(out / name)]
    if json:
        print(dumps(rows))
    else:
        print_table(f"records under {out}", COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    return 0


def _experiment(folder: Path) -> Iterator[dict[str, str]]:
    """One row for every record, finished or begun, and one for every cell of it."""
    begun = {path.with_suffix("") for end in ("checkpoints", "lock") for path in folder.glob(f"[!.]*.{end}")}
    finished = {path.parent for path in folder.glob("[!.]*/manifest.json")}
    for record in sorted(begun | finished):
        row = {"experiment": folder.name, "record": record.name}
        yield {**row, "cell": "", "state": _state(record)}
        for name, key in _cells(record).items():
            yield {**row, "cell": name, "state": _state(folder / "cells" / key)}


def _cells(record: Path) -> dict[str, str]:
    """The keys of the record's cells, by name: of a finished one by its manifest, else as far as they are known."""
    if (record / "manifest.json").exists():
        return _manifest(record).get("cells", {})
    plan = states_of(record) / PLAN
    return loads(plan.read_text()) if plan.exists() else {}


def _state(record: Path) -> str:
    """done, running, stale, damaged, or missing."""
    if not (record / "manifest.json").exists():
        return "running" if is_running(record) else "missing"
    manifest = _manifest(record)
    if not manifest:
        return "damaged"
    fresh = manifest.get("needs") == versions() and manifest.get("code") == _code(manifest.get("modules", []))
    return "done" if fresh else "stale"


def _manifest(record: Path) -> dict[str, Any]:
    """The record's manifest as it is written, {} where that is no JSON object; its data are not looked at."""
    try:
        manifest = loads((record / "manifest.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _code(modules: list[str]) -> str | None:
    """The hash of their code now; None where one of them is gone."""
    try:
        return code_hash(modules)
    except FileNotFoundError:
        return None
