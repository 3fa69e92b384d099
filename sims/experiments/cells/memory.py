"""What a cell has used is given back before the next one, so that memory does not grow with cells."""

import ctypes
import gc
import os
from pathlib import Path

import jax

MEGABYTES = 900  # that a process may hold between two cells
RESIDENT = Path("/proc/self/statm")  # of Linux; elsewhere nobody asks


def give_back() -> None:
    """Return freed memory to the system, which glibc keeps; if much is still held, forget the compiled programs.

    A program of large images takes about 50 MB; the next cell compiles again what it needs.
    """
    if not RESIDENT.exists():
        return
    _trim()
    if _megabytes() > MEGABYTES:
        jax.clear_caches()
        gc.collect()
        _trim()


def _trim() -> None:
    """Nothing where the C library is another than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _megabytes() -> float:
    return int(RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
