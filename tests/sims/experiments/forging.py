"""Forged records: one that was measured, changed at will, with its digests made anew, and its cells beside it."""

import copy

import numpy as np

from defenses.data.sources import load
from defenses.files.folders import Folders
from sims.records import store


def forged(record, forge, folder):
    """The folder of the record after `forge(data, manifest)`.

    Its data has the pixels of all cells beside what is joined, `adversarial` and `clean`; the cells are written with
    what becomes of the former.
    """
    data, manifest = record.data.copy(deep=True), copy.deepcopy(record.manifest)
    names = [[f"{attack} on {defense}" for attack in data.attack.values] for defense in data.defense.values]
    cells = [[cell_of(record, name) for name in row] for row in names]
    images = np.array([[store.pixels_of(cell, "adversarial") for cell in row] for row in cells])
    data["adversarial"] = (("defense", "attack", *store.PIXELS), images)
    data["clean"] = (store.PIXELS, load("digits", Folders().data).test.images[data.image.values])
    forge(data, manifest)
    for row, forged_row in zip(cells, data.adversarial.values, strict=True):
        for cell, pixels in zip(row, forged_row, strict=True):
            there = folder / manifest["experiment"] / "cells" / cell.folder.name
            store.write(there, cell.data, cell.manifest, {"adversarial": [pixels]})
    joined = data.drop_vars(["adversarial", "clean"])
    return store.write(folder / manifest["experiment"] / "forged", joined, manifest).folder


def cell_of(record, name):
    """The record's cell of that name."""
    return store.read(record.folder.parent / "cells" / record.manifest["cells"][name])
