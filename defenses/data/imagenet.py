"""ImageNet's ILSVRC2012 classification images: pictures in class folders, or in one folder with a label file."""

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from defenses.data.class_list import Classes, labels_of, listed
from defenses.data.dataset import Dataset, Split
from defenses.data.labelled import Labelled, labelled, say_skipped
from defenses.files.pictures import Pictures
from defenses.files.resize import Resize, checked

NUM_CLASSES = 1000
NUM_VALIDATION = 50000
CLASSES = "classes.json"
WNID = re.compile(r"n\d{8}")


def read(folder: Path, resize: Resize) -> Dataset:
    """ImageNet from the pictures of imagenet/val, and of imagenet/train where that is there, as `labelled` finds them.

    Any part of the images will do; a class folder bears the wnid, the name or the number of a class, as `classes` knows
    them. Images come in the order of their file names, in which the first validation images are of many classes.
    On stderr is said how much was skipped. No digests of single pictures are published, so they are not compared with
    any. Raises ValueError that names what is missing. Source: O. Russakovsky et al., arXiv 1409.0575.
    """
    checked(resize)
    root = folder / "imagenet"
    if not (root / "val").is_dir():
        command = f"python -m defenses data fetch imagenet --data-dir {folder} --from FOLDER"
        raise ValueError(f"{root / 'val'} is missing; `{command}` copies it from class folders")
    found = {part: labelled(root / part) for part in ("train", "val") if (root / part).is_dir()}
    known = classes(found["val"].named, root / "val", root / CLASSES)
    splits = {part: _split(one, known, root / CLASSES, resize) for part, one in found.items()}
    return Dataset("imagenet", (resize.crop, resize.crop, 3), known.names, splits.get("train"), splits["val"])


def classes(named: Collection[str], val: Path, file: Path) -> Classes:
    """The classes from the JSON list in `file` (see `class_list.listed`), else from what they are called in `val`.

    A label is the position of a class in the sorted list of wnids: all of these tell it, and so do numbers 0..999, be
    they only some. Raises ValueError when there is neither, or when the file is no such list.
    """
    if file.is_file():
        return _listed(file)
    numbers = tuple(map(str, range(NUM_CLASSES)))
    if all(name.isdecimal() and int(name) < NUM_CLASSES for name in named):
        return Classes(numbers, numbers)
    wnids = tuple(sorted(name for name in named if WNID.fullmatch(name)))
    if len(wnids) != NUM_CLASSES:
        here = f"{val} has {len(wnids)} of {NUM_CLASSES} class folders named by wnids"
        raise ValueError(f"{file} is missing, and {here}, and other names than numbers 0..{NUM_CLASSES - 1}")
    return Classes(wnids, wnids)


def _listed(file: Path) -> Classes:
    known = listed(file)
    if len(known.wnids) != NUM_CLASSES or list(known.wnids) != sorted(set(known.wnids)):
        raise ValueError(f"{file} must list {NUM_CLASSES} classes, index 0..{NUM_CLASSES - 1} in the order of wnids")
    return known


def _split(found: Labelled, known: Classes, file: Path, resize: Resize) -> Split:
    label = labels_of(found.named, known, file)
    paths = sorted(found.classes, key=lambda path: (path.name, path.parent.name))
    say_skipped(found)
    labels = np.asarray([label[found.classes[path]] for path in paths], np.int32)
    return Split(Pictures(tuple(paths), (resize.crop, resize.crop, 3), resize), labels)
