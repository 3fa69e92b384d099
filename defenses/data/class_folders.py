"""A data set of one's own: a folder of class folders with PNG and JPEG pictures."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from defenses.data.class_list import Classes, listed
from defenses.data.dataset import Dataset, Split
from defenses.files.pictures import Pictures, shape_of
from defenses.files.resize import Resize, checked

SUFFIXES = (".png", ".jpg", ".jpeg")  # in any case
ENDINGS = ".png, .jpg or .jpeg"


def class_folders(folder: Path, resize: Resize | None = None, classes: Path | None = None) -> Dataset:
    """The pictures of FOLDER/<class>/*.png, .jpg and .jpeg, all in `test`, class by class and then by file name.

    resize: how every picture becomes an image, as those of ImageNet do; without one all must have the same shape.
    With one, images have one channel where all pictures are greyscale, else three.
    classes: a JSON file that tells the labels (see `class_list.listed`), whose names or wnids the folders bear.
    Without it the folders are all the classes, in the order of their names, of numbers where all names are numbers:
    a folder with some of the classes that a network knows needs the file, or the labels are wrong.

    Names with a leading dot are passed over, and so are folders in class folders; on stderr is said how many other
    files were skipped. Every file's header is read, a picture is decoded when it is asked for. Transparency and EXIF
    orientation are ignored.
    Raises ValueError that names a folder without what it must hold, a folder or file that is no class or no picture,
    or a picture of another shape than the first.
    """
    if resize is not None:
        checked(resize)
    folders = _folders(folder)
    names = _in_order(path.name for path in folders)
    known = Classes(names, names) if classes is None else listed(classes)
    labels = _labels(folders, known, classes or folder)
    paths = sorted(_pictures(folder, folders), key=lambda path: (labels[path.parent], path.name, path.parent.name))
    image_shape = _image_shape(paths, resize)
    test = Split(Pictures(tuple(paths), image_shape, resize), np.asarray([labels[p.parent] for p in paths], np.int32))
    return Dataset(Path(os.path.abspath(folder)).name, image_shape, known.names, None, test)


def in_turn(dataset: Dataset) -> Dataset:
    """The same pictures, the first of every class before the second of any: the leading ones are of all classes."""
    images, labels = dataset.test
    assert isinstance(images, Pictures)
    rank = np.concatenate([np.arange(count) for count in np.unique(labels, return_counts=True)[1]])
    order = np.lexsort((labels, rank))
    paths = tuple(images.paths[place] for place in order)
    return dataset._replace(test=Split(replace(images, paths=paths), labels[order]))


def first_shape(folder: Path) -> tuple[int, int, int]:
    """(h, w, c) of the first picture; raises as `class_folders` does."""
    return shape_of(min(_pictures(folder, _folders(folder), told=False)))


def _folders(folder: Path) -> list[Path]:
    """The class folders, sorted."""
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of class folders, there is no such folder")
    found = sorted(path for path in _shown(folder) if path.is_dir())
    if not found:
        raise ValueError(f"{folder} must be a folder of class folders, it has no folders")
    return found


def _shown(folder: Path) -> list[Path]:
    """What lies in a folder and is not hidden by a leading dot."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names sorted as text, or as numbers if all of them are whole numbers."""
    ordered = sorted(names)
    return tuple(sorted(ordered, key=int) if all(name.isdecimal() for name in ordered) else ordered)


def _labels(folders: Sequence[Path], known: Classes, file: Path) -> Mapping[Path, int]:
    """The label of each folder, by the wnid or by the name of a class that has it alone."""
    wnid, count = Counter(known.wnids).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{file} must list every class once, it has {wnid!r} twice or more")
    shared = Counter(known.names)
    by_name = {name: label for label, name in enumerate(known.names) if shared[name] == 1}
    label = by_name | {wnid: label for label, wnid in enumerate(known.wnids)}
    for folder in folders:
        if folder.name not in label:
            kind = f"exactly one of the {len(known.names)} classes of {file}"
            raise ValueError(f"{folder} must have the name or the wnid of {kind}")
    return {folder: label[folder.name] for folder in folders}


def _pictures(folder: Path, folders: Sequence[Path], told: bool = True) -> list[Path]:
    """The picture files of the class folders; where `told`, says on stderr how many other files there are."""
    files = [path for class_folder in folders for path in _shown(class_folder) if path.is_file()]
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    skipped = len(files) - len(pictures)
    if skipped and told:
        noun = "1 file that is" if skipped == 1 else f"{skipped} files that are"
        print(f"skipped {noun} no {ENDINGS} in {folder}", file=sys.stderr)
    if not pictures:
        raise ValueError(f"{folder} must hold {ENDINGS} files in its class folders, such as {folders[0]}, it has none")
    return pictures


def _image_shape(paths: Sequence[Path], resize: Resize | None) -> tuple[int, int, int]:
    """The (h, w, c) that all images have."""
    shapes = [shape_of(path) for path in paths]
    if resize is not None:
        return resize.crop, resize.crop, max(channels for _, _, channels in shapes)
    for path, shape in zip(paths, shapes, strict=True):
        if shape != shapes[0]:
            other = f"{path} has shape {shape}, {paths[0]} has {shapes[0]}"
            raise ValueError(f"{other}; all must be alike, --resize SIZE:CROP makes them so")
    return shapes[0]
