"""The file that tells the labels of pictures in one flat folder: a line per picture, with its name and its class."""

import contextlib
import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

SUFFIXES = (".csv", ".txt")
ALLOWED = "a .csv or .txt file with lines `picture,class` or `picture class`, the class by its name or its number"


class LabelFile(NamedTuple):
    """file: where it lies. classes: of each picture that is here and has a line, the class as the file writes it.

    named: all classes of the file. absent: lines whose picture is not here.
    """

    file: Path
    classes: Mapping[Path, str]
    named: tuple[str, ...]
    absent: int


def label_file(folder: Path, pictures: Sequence[Path]) -> LabelFile:
    """The .csv or .txt file that has a line for one of these pictures of the folder.

    It lies in the folder, or beside it under its name (val.txt and val/). The two entries of a line stand apart by a
    comma, a tab or, without either, the last blank. Folders before a picture's name, with / or a backslash, are passed
    over, its ending may be missing, and so may the pictures of some lines; the first line may be a heading.
    Raises ValueError where there is no such file or more than one, for a line without two entries, or for a picture of
    two classes.
    """
    beside = [folder.with_name(folder.name + suffix) for suffix in SUFFIXES]
    inside = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    files = [path for path in (*inside, *beside) if path.suffix.lower() in SUFFIXES and path.is_file()]
    known = _by_name(pictures)
    found = {file: rows for file, rows in zip(files, map(_rows, files), strict=True) if known.keys() & map(_name, rows)}
    if not found:
        pictures_here = f"{len(pictures)} pictures that are in no class folder"
        raise ValueError(f"{folder} must hold class folders or {ALLOWED}; it has {pictures_here}, and no such file")
    if len(found) > 1:
        raise ValueError(f"{folder} must have one file of labels, it has {', '.join(map(str, found))}")
    ((file, rows),) = found.items()
    return _read(file, rows, known)


def _read(file: Path, rows: Sequence[Sequence[str]], known: Mapping[str, Path]) -> LabelFile:
    rows = rows[1:] if _name(rows[0]) not in known and not PureWindowsPath(_name(rows[0])).suffix else rows
    classes: dict[Path, str] = {}
    for row in rows:
        if len(row) != 2 or not all(entry.strip() for entry in row):
            raise ValueError(f"{file} must hold lines of two entries, a picture and its class, got {row}")
        picture, named = known.get(_name(row)), row[1].strip()
        if picture is not None and classes.setdefault(picture, named) != named:
            raise ValueError(f"{file} must give {picture.name} one class, it gives {classes[picture]!r} and {named!r}")
    absent = sum(_name(row) not in known for row in rows)
    return LabelFile(file, classes, tuple(dict.fromkeys(row[1].strip() for row in rows)), absent)


def _rows(file: Path) -> list[list[str]]:
    """The entries of every line that has any; none where it is a table of something else, with endless entries."""
    lines = [line for line in file.read_text("utf-8-sig", errors="replace").splitlines() if line.strip()]
    for delimiter in (",", "\t"):
        if lines and delimiter in lines[0]:
            with contextlib.suppress(csv.Error):
                return list(csv.reader(lines, delimiter=delimiter))
            return []
    return [line.rsplit(maxsplit=1) for line in lines]


def _name(row: Sequence[str]) -> str:
    """The name of the picture that a line is about."""
    return PureWindowsPath(row[0].strip()).name


def _by_name(pictures: Sequence[Path]) -> dict[str, Path]:
    """The pictures by their names, and by their names without an ending where no two share that."""
    stems = Counter(path.stem for path in pictures)
    return {path.stem: path for path in pictures if stems[path.stem] == 1} | {path.name: path for path in pictures}
