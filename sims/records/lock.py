"""One process a record: whoever computes it holds a lock, which ends with the process however that ends."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process computes the record of that folder; ValueError, in one line, where one does now."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"out must be a folder whose record nobody else computes, {folder} is being computed by another process; "
            f"wait for it, or give another --out"
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            folder.parent.rmdir()  # where nothing came of it


def once(folder: Path, compute: Callable[[], None]) -> None:
    """Compute the record of that folder where there is none, alone; raises as `alone` does."""
    manifest = folder / "manifest.json"
    if manifest.exists():
        return
    with alone(folder):
        if not manifest.exists():  # another process may have finished it just now
            compute()


def is_running(folder: Path) -> bool:
    """Whether a process computes the record of that folder now."""
    lock = _lock(folder)
    if not Path(lock.lock_file).exists():
        return False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(folder.name + ".lock"))
