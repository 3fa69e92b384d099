"""ImageNet's ILSVRC2012 classification images: one folder of JPEG files per class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from defenses.data.class_list import Classes, listed
from defenses.data.dataset import Dataset, Split
from defenses.files.pictures import Pictures
from defenses.files.resize import Resize, checked

NUM_CLASSES = 1000
NUM_VALIDATION = 50000
SUFFIX = ".JPEG"
CLASSES = "classes.json"


def read(folder: Path, resize: Resize) -> Dataset:
    """ImageNet from imagenet/val/<wnid>/*.JPEG, and imagenet/train/<wnid>/*.JPEG where that is there.

    Any part of the images will do; labels are right as long as `classes` knows all classes. Images come in the
    order of their file names, in which the first validation images are of many classes.
    No digests of single pictures are published, so they are not compared with any. Raises ValueError that names what
    is missing. Source: O. Russakovsky et al., arXiv 1409.0575.
    """
    checked(resize)
    root = folder / "imagenet"
    if not (root / "val").is_dir():
        command = f"python -m defenses data fetch imagenet --data-dir {folder} --from FOLDER"
        raise ValueError(f"{root / 'val'} is missing; `{command}` copies it from class folders")
    known = classes(root / "val", root / CLASSES)
    splits = {part: _split(root / part, known, resize) for part in ("train", "val") if (root / part).is_dir()}
    return Dataset("imagenet", (resize.crop, resize.crop, 3), known.names, splits.get("train"), splits["val"])


def classes(val: Path, file: Path) -> Classes:
    """The classes from the JSON list in `file` (see `class_list.listed`), else the 1000 folders in `val`.

    A label is the position of a class in the sorted list of wnids, so some of the folders alone do not tell it.
    Raises ValueError when there is neither, or when the file is no such list.
    """
    if file.is_file():
        return _listed(file)
    wnids = tuple(sorted(path.name for path in val.iterdir() if path.is_dir()))
    if len(wnids) != NUM_CLASSES:
        raise ValueError(f"{file} is missing, and {val} has {len(wnids)} of {NUM_CLASSES} class folders")
    return Classes(wnids, wnids)


def images_of(folder: Path) -> list[Path]:
    """The JPEG files in the class folders of `folder`, sorted by file name; [] without the folder."""
    return sorted(folder.glob(f"*/*{SUFFIX}"), key=lambda path: (path.name, path.parent.name))


def _listed(file: Path) -> Classes:
    known = listed(file)
    if len(known.wnids) != NUM_CLASSES or list(known.wnids) != sorted(set(known.wnids)):
        raise ValueError(f"{file} must list {NUM_CLASSES} classes, index 0..{NUM_CLASSES - 1} in the order of wnids")
    return known


def labels_of(paths: Sequence[Path], known: Classes) -> Int32[np.ndarray, " n"]:
    """The labels of pictures by the class folders they lie in; ValueError names a folder that is no class."""
    label = {wnid: index for index, wnid in enumerate(known.wnids)}
    unknown = [path.parent for path in paths if path.parent.name not in label]
    if unknown:
        raise ValueError(f"{unknown[0]} must be named after one of the {len(label)} classes")
    return np.asarray([label[path.parent.name] for path in paths], np.int32)


def _split(folder: Path, known: Classes, resize: Resize) -> Split:
    paths = images_of(folder)
    if not paths:
        raise ValueError(f"{folder} must hold class folders with {SUFFIX} files, it has none")
    return Split(Pictures(tuple(paths), (resize.crop, resize.crop, 3), resize), labels_of(paths, known))
