"""Data sets and published weights into the data folder: downloaded, or taken from a folder, and checked before."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, track

from defenses.data import imagenet
from defenses.data.class_list import labels_of
from defenses.data.labelled import labelled, say_skipped
from defenses.data.layout import Found, Layout, contents, find, is_published, plain
from defenses.data.sources import SOURCES, Download, files_presence
from defenses.files.pictures import require_whole
from defenses.weights.published import PUBLISHED, Published

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without an answer


def fetch(name: str, folder: Path, from_folder: Path | None = None) -> tuple[Path, ...]:
    """Put the data set, or the file of published weights, of that name into the data folder.

    from_folder: where to take it from, in any of its published forms; by default it is downloaded from its official
        address, then from mirrors.
    Returns the files written, none where all is here already. What is here but is not the published file is
    replaced. Every file has its published sha256 before anything gets its final name.
    Raises ValueError for an unknown name, a file that is missing in `from_folder` or is not the published one, and
    what can't be downloaded at all; OSError when no address gave the file. Nothing is left behind then.
    """
    if from_folder is not None and not from_folder.is_dir():
        raise ValueError(f"--from must be a folder, got {from_folder}")
    if name == "imagenet":
        return _fetch_imagenet(folder, from_folder)
    layouts, download = _form(name)
    if not layouts or files_presence(layouts, folder).state == "complete":
        return ()
    with _scratch(folder) as scratch:
        if from_folder is not None:
            found = _given(layouts, from_folder)
        elif download is not None:
            found = _downloaded(download, scratch)
        else:
            raise ValueError(f"{name} has no address to download it from: use --from FOLDER")
        return _install(found, layouts, folder, scratch)


def weights_layout(published: Published) -> Layout:
    """Where the file of a published checkpoint lies, and its digest."""
    return Layout(("weights",), {published.file: published.sha256}, plain)


def _form(name: str) -> tuple[tuple[Layout, ...], Download | None]:
    """The layouts of what is called `name`, and its download."""
    if name in SOURCES:
        return SOURCES[name].layouts, SOURCES[name].download
    for published in PUBLISHED:
        if name == published.file:
            layout = weights_layout(published)
            address = published.address
            return (layout,), None if address is None else Download(layout, (address.removesuffix(name),))
    names = [*SOURCES, *(published.file for published in PUBLISHED)]
    raise ValueError(f"NAME must be one of {', '.join(names)}, got {name!r}")


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the final files; a data folder made for it goes with it where nothing came in."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
            yield Path(scratch)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _given(layouts: tuple[Layout, ...], folder: Path) -> Found:
    """The published files in a folder of the user's, itself one of the layouts' folders or above one."""
    found = find(folder, [layout._replace(folders=(*layout.folders, ".")) for layout in layouts])
    if found.missing:
        raise ValueError(f"{found.folder / found.missing[0]} is missing")
    for path in found.present:
        if not is_published(path, found.layout):
            digits, size = found.layout.sha256[path.name], path.stat().st_size
            raise ValueError(f"{path} must have sha256 {digits}, this file of {size} bytes has another")
    return found


def _downloaded(download: Download, scratch: Path) -> Found:
    with _progress() as progress:
        for file in download.layout.sha256:
            _download(file, download, scratch, progress)
    return Found(download.layout, scratch, ())


def _download(file: str, download: Download, scratch: Path, progress: Progress) -> None:
    """One file from the first address that serves it as published."""
    import pooch
    from requests import RequestException

    failures = []
    for address in download.addresses:
        bar = _Bar(progress, file)
        get = pooch.HTTPDownloader(
            progressbar=bar,  # pyright: ignore[reportArgumentType]  # pooch takes a bar of one's own
            chunk_size=CHUNK,
            timeout=TIMEOUT,
        )
        try:
            get(address + file, str(scratch / file), None)
        except RequestException as error:
            status = error.response.status_code if error.response is not None else type(error).__name__
            failures.append(f"{address + file}: {status}")
            continue
        finally:
            bar.close()
        if is_published(scratch / file, download.layout):
            return
        failures.append(f"{address + file}: another sha256 than {download.layout.sha256[file]}")
    raise OSError(f"{file} could not be downloaded ({'; '.join(failures)}): get it by hand and use --from FOLDER")


def _install(found: Found, layouts: tuple[Layout, ...], folder: Path, scratch: Path) -> tuple[Path, ...]:
    """Unpack into `scratch`, then give every file its final name."""
    homes = {name: folder / layout.folders[0] for layout in layouts for name in layout.sha256}
    staged = scratch / "unpacked"
    staged.mkdir()
    names = []
    for name, content, _ in contents(found):
        (staged / name).write_bytes(content)
        names.append(name)
    return _move({staged / name: homes[name] / name for name in names})


def _fetch_imagenet(folder: Path, from_folder: Path | None) -> tuple[Path, ...]:
    """Copy labelled validation pictures, each decoded once, into class folders; and the list of classes, if any."""
    if from_folder is None:
        raise ValueError(
            "imagenet can't be downloaded without an account: get ILSVRC2012's validation images from"
            " https://image-net.org, in class folders or with a label file, and use --from FOLDER"
        )
    root, val = _class_folders(from_folder)
    here = folder / "imagenet"
    file = root / imagenet.CLASSES
    if not file.is_file():
        file = here / imagenet.CLASSES
    found = labelled(val)
    known = imagenet.classes(found.named, val, file)
    label = labels_of(found.named, known, file)
    say_skipped(found)
    with _scratch(folder) as scratch:
        moves = {}
        for number, (path, name) in enumerate(track(found.classes.items(), "imagenet", **_quiet())):
            require_whole(path)
            home = here / "val" / known.wnids[label[name]]
            moves[Path(shutil.copyfile(path, scratch / str(number)))] = home / path.name
        if file.is_file():
            moves[Path(shutil.copyfile(file, scratch / imagenet.CLASSES))] = here / imagenet.CLASSES
        return _move(moves)


def _class_folders(folder: Path) -> tuple[Path, Path]:
    """The folder with the list of classes, and the one with the class folders of the validation pictures."""
    for root in (folder / "imagenet", folder):
        if (root / "val").is_dir():
            return root, root / "val"
    return folder, folder


def _move(moves: dict[Path, Path]) -> tuple[Path, ...]:
    for temporary, final in moves.items():
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, final)
    return tuple(moves.values())


def _progress() -> Progress:
    """Progress bars on stderr, in bytes, that disappear when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, **_quiet())


def _quiet() -> dict[str, Any]:
    """Options of rich: draw on stderr, only on a terminal, and leave nothing there."""
    console = Console(stderr=True)
    return {"console": console, "transient": True, "disable": not console.is_terminal}


class _Bar:
    """What pooch tells how far a download is: `total` is set, `update` called with the bytes of each chunk."""

    def __init__(self, progress: Progress, title: str):
        self.progress, self.task = progress, progress.add_task(title, total=None)
        self.total = 0

    def update(self, size: int) -> None:
        self.progress.update(self.task, total=self.total or None, advance=size)

    def reset(self) -> None:
        self.progress.reset(self.task)

    def close(self) -> None:
        self.progress.update(self.task, visible=False)
