"""Pictures of a folder and what their classes are called: by the class folders they lie in, or by a label file."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from defenses.data.label_file import label_file

SUFFIXES = (".png", ".jpg", ".jpeg")  # in any case
ENDINGS = ".png, .jpg or .jpeg"


class Labelled(NamedTuple):
    """classes: what the class of each picture is called, a folder's name or a label file's text.

    named: every class, those without a picture too, and what messages call it. skipped: in words, what was passed over.
    empty: class folders without a picture.
    """

    classes: Mapping[Path, str]
    named: Mapping[str, str]
    skipped: tuple[str, ...]
    empty: tuple[Path, ...] = ()


def labelled(folder: Path) -> Labelled:
    """The pictures in the class folders of `folder`; where there are none, its own and what a label file says of them.

    Names with a leading dot are passed over. Raises ValueError that names a folder without what it must hold, and as
    `label_file` does.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of pictures, there is no such folder")
    found = pictures(folder)
    if not found:
        raise ValueError(f"{folder} must hold {ENDINGS} files, in class folders or with a label file, it has none")
    return _flat(folder, found) if found[0].parent == folder else _in_class_folders(folder, found)


def pictures(folder: Path) -> list[Path]:
    """The picture files in the class folders of `folder`, else its own; [] where there are none."""
    in_folders = [path for inner in _folders(folder) for path in _pictures(inner)]
    return in_folders or _pictures(folder)


def say_skipped(found: Labelled) -> None:
    """Print on stderr what was passed over."""
    for words in found.skipped:
        print(f"skipped {words}", file=sys.stderr)


def _in_class_folders(folder: Path, found: Sequence[Path]) -> Labelled:
    folders = _folders(folder)
    named = {path.name: str(path) for path in folders}
    others = sum(entry.is_file() for inner in folders for entry in _shown(inner)) - len(found)
    nested = sum(entry.is_dir() for inner in folders for entry in _shown(inner))
    skipped = (
        *_counted(others, f"file that is no {ENDINGS}", f"files that are no {ENDINGS}", folder),
        *_counted(nested, "folder inside the class folders", "folders inside the class folders", folder),
        *_counted(len(_pictures(folder)), "picture in no class folder", "pictures in no class folder", folder),
    )
    empty = tuple(sorted(set(folders) - {path.parent for path in found}))
    return Labelled({path: path.parent.name for path in found}, named, skipped, empty)


def _flat(folder: Path, found: Sequence[Path]) -> Labelled:
    file, classes, named, absent = label_file(folder, found)
    others = sum(entry.is_file() for entry in _shown(folder)) - len(found) - (file.parent == folder)
    unlabelled, without = len(found) - len(classes), f"without a line in {file}"
    skipped = (
        *_counted(others, f"file that is no {ENDINGS}", f"files that are no {ENDINGS}", folder),
        *_counted(unlabelled, f"picture {without}", f"pictures {without}", folder),
        *_counted(absent, f"line of {file} whose picture is not", f"lines of {file} whose pictures are not", folder),
    )
    return Labelled(classes, {name: f"{name!r} in {file}" for name in named}, skipped)


def _counted(count: int, one: str, several: str, folder: Path) -> Iterator[str]:
    if count:
        yield f"{count} {one if count == 1 else several} in {folder}"


def _folders(folder: Path) -> list[Path]:
    """The class folders, sorted."""
    return sorted(Path(entry.path) for entry in _shown(folder) if entry.is_dir())


def _pictures(folder: Path) -> list[Path]:
    entries = (entry for entry in _shown(folder) if entry.is_file())
    return sorted(path for path in map(Path, entries) if path.suffix.lower() in SUFFIXES)


def _shown(folder: Path) -> list[os.DirEntry]:
    """What lies in a folder and is not hidden by a leading dot; nothing where there is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]
