"""Small runs of `attack`, their cells, and whether two of them are the same."""

import numpy as np

from sims.command_line import main
from sims.records import store

SMALL = ["--images", "12", "--query-budget", "20", "--epsilon", "0.3", "--draws", "8", "--rows", "8", "--tile", "4"]
CHOSEN = [*SMALL, "--evaluations", "3", "--defenses", "none", "gaussian-noise:std=0.2"]


def run(out, *arguments):
    assert main(["attack", *CHOSEN, *arguments, "--out", str(out), "--json"]) == 0
    return store.latest(out, "attack")


def cells_of(out):
    """The manifests of all cells there, by their keys, each with when it was written."""
    folders = [path.parent for path in (out / "attack" / "cells").glob("[!.]*/manifest.json")]
    return {folder.name: (folder / "manifest.json").stat().st_mtime_ns for folder in folders}


def adversarial(record):
    """The final images of every cell, by its name."""
    folder = record.folder.parent / "cells"
    cells = {name: store.read(folder / key) for name, key in record.manifest["cells"].items() if " on " in name}
    return {name: store.pixels_of(one, "adversarial") for name, one in cells.items() if "V and" not in name}


def same(one, other):
    """Every number and every pixel of two runs."""
    assert one.data.identical(other.data)
    ours, theirs = adversarial(one), adversarial(other)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
