"""How the files of a data set lie in a folder: under which names, with which digests, packed how."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

Contents = Iterator[tuple[str, bytes]]


class Unpacked(NamedTuple):
    """What a file holds: a name, bytes, and the file itself, which is of the same name where nothing is packed."""

    name: str
    content: bytes
    origin: Path

    def __str__(self) -> str:
        """How messages call it."""
        return str(self.origin) if self.origin.name == self.name else f"{self.name} in {self.origin}"


class Layout(NamedTuple):
    """One form in which a data set is published: all of these files together hold it.

    folders: where they are looked for in the data folder; fetching puts them into the first.
    sha256: for every file name its 64 hexadecimal digits, or the leading ones, or none, where no more are published.
    unpack: yields (name, bytes) of what one such file holds; ValueError names a damaged file.
    """

    folders: tuple[str, ...]
    sha256: Mapping[str, str]
    unpack: Callable[[Path], Contents]


class Found(NamedTuple):
    """A layout in the folder where most of its files lie, and the names of those that do not."""

    layout: Layout
    folder: Path
    missing: tuple[str, ...]

    @property
    def present(self) -> tuple[Path, ...]:
        """The files that are there."""
        return tuple(self.folder / name for name in self.layout.sha256 if name not in self.missing)


def find(folder: Path, layouts: Iterable[Layout]) -> Found:
    """The first layout whose files all lie in `folder`, else the one that misses the smallest share of them."""
    found = [_found(layout, folder / place) for layout in layouts for place in layout.folders]
    return min(found, key=lambda one: len(one.missing) / len(one.layout.sha256))


def contents(found: Found) -> Iterator[Unpacked]:
    """Everything that the present files hold, unpacked but not compared; ValueError names a damaged file."""
    for path in found.present:
        for name, content in found.layout.unpack(path):
            yield Unpacked(name, content, path)


def require_published(content: bytes, sha256: str, title: str) -> None:
    """Raise ValueError, which calls the content `title`, unless its sha256 is the published one."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{title} must have sha256 {sha256}, its {len(content)} bytes have another")


def is_published(path: Path, layout: Layout) -> bool:
    """Whether the sha256 of a file is the one in its layout."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest().startswith(layout.sha256[path.name])


def plain(path: Path) -> Contents:
    """A file that holds itself."""
    yield path.name, path.read_bytes()


def gunzipped(path: Path) -> Contents:
    """The one file in a gzip file, named without `.gz`; ValueError when it is truncated or no gzip file."""
    try:
        yield path.name.removesuffix(".gz"), gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file ({error})") from error


def members(*names: str) -> Callable[[Path], Contents]:
    """An `unpack` for a .tar.gz: its regular files of these names, whatever their folder; nothing else is read."""

    def unpack(path: Path) -> Contents:
        try:
            with tarfile.open(path, "r|gz") as archive:
                for member in archive:
                    if member.isfile() and Path(member.name).name in names:
                        stream = archive.extractfile(member)
                        assert stream is not None  # a regular file has one
                        yield Path(member.name).name, stream.read()
        except tarfile.TarError as error:
            raise ValueError(f"{path} must be a whole .tar.gz archive ({error})") from error

    return unpack


def _found(layout: Layout, folder: Path) -> Found:
    return Found(layout, folder, tuple(name for name in layout.sha256 if not (folder / name).is_file()))
