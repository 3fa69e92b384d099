"""What a cell has used is given back before the next one, so that memory does not grow with cells."""

import ctypes
import gc
import os
from pathlib import Path

import jax

GROWTH = 350  # megabytes that cells may leave behind
RESIDENT = Path("/proc/self/statm")  # of Linux; elsewhere nobody asks


def held() -> float:
    """Megabytes that this process holds once freed memory is returned to the system; 0 where none says."""
    if not RESIDENT.exists():
        return 0.0
    _return_freed()
    return int(RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def give_back(before: float) -> None:
    """Return what a cell has freed; forget the compiled programs once cells have left GROWTH beyond `before`.

    A program of large images takes about 50 MB; the next cell compiles again what it needs.
    """
    if held() > before + GROWTH:
        jax.clear_caches()
        gc.collect()
        _return_freed()


def _return_freed() -> None:
    """Glibc keeps it; nothing elsewhere."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
