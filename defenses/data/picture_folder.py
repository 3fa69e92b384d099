"""A data set of one's own: a folder of PNG and JPEG pictures, in class folders or with a label file."""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from defenses.data.class_list import Classes, labels_of, listed
from defenses.data.dataset import Dataset, Split
from defenses.data.labelled import Labelled, labelled, say_skipped
from defenses.files.pictures import Pictures, shape_of
from defenses.files.resize import Resize, checked


def picture_folder(folder: Path, resize: Resize | None = None, classes: Path | None = None) -> Dataset:
    """The pictures of a folder as `labelled` finds them, all in `test`, class by class and then by file name.

    resize: how every picture becomes an image, as those of ImageNet do; without one all must have the same shape.
    With one, images have one channel where all pictures are greyscale, else three.
    classes: a JSON file that tells the labels (see `class_list.listed`). Without it the classes that are named there
    are all there are, in the order of their names; if all names are numbers, in the order of these, which must count
    from 0 or 1 without a gap, else no folder may be empty: some of the classes that a network knows need the file.

    On stderr is said how much was skipped. Every file's header is read, a picture is decoded when it is asked for.
    Transparency and EXIF orientation are ignored.
    Raises ValueError as `labelled` and `labels_of` do, for numbers with a gap, an empty folder among names, and for a
    file that is no picture or of another shape than the first.
    """
    if resize is not None:
        checked(resize)
    found = labelled(folder)
    known = _all_classes(found, folder) if classes is None else listed(classes)
    label = labels_of(found.named, known, classes or folder)
    paths = sorted(found.classes, key=lambda path: (label[found.classes[path]], path.name, path.parent.name))
    image_shape = _image_shape(paths, resize)
    say_skipped(found)
    labels = np.asarray([label[found.classes[path]] for path in paths], np.int32)
    test = Split(Pictures(tuple(paths), image_shape, resize), labels)
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
    """(h, w, c) of the first picture; raises as `labelled` does."""
    return shape_of(min(labelled(folder).classes))


def _all_classes(found: Labelled, folder: Path) -> Classes:
    """The classes of which the folder names every one; an empty one may be none, and would move the labels."""
    names = _in_order(found.named)
    numbered = [name for name in names if name.isdecimal()]
    if numbered and len(numbered) < len(names):
        other = next(name for name in names if not name.isdecimal())
        here = f"it has {len(numbered)} and {other!r}; --classes FILE.json tells the labels"
        raise ValueError(f"{folder} must name its classes by numbers or by names, not by both, {here}")
    if numbered:
        numbers = sorted(map(int, names))
        if numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
            here = f"it has {len(numbers)} from {numbers[0]} to {numbers[-1]}; --classes FILE.json tells the labels"
            raise ValueError(f"{folder} must number its classes from 0 or 1 without a gap, {here}")
    elif found.empty:
        cure = "take it away, or --classes FILE.json tells the labels"
        raise ValueError(f"{found.empty[0]} must hold a picture to be a class: {cure}")
    return Classes(names, names)


def _in_order(names: Collection[str]) -> tuple[str, ...]:
    """The names sorted as text, or as numbers if all of them are whole numbers."""
    ordered = sorted(names)
    return tuple(sorted(ordered, key=int) if all(name.isdecimal() for name in ordered) else ordered)


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
