"""How the small programs of measurements are compiled, and called from several threads."""

from collections import defaultdict
from collections.abc import Hashable
from threading import Lock
from typing import Any

# many small programs, each run for a second: compiled lightly they take less than half the time, and run as fast
QUICK_COMPILATION: Any = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}

_locks: dict[tuple[Hashable, ...], Lock] = defaultdict(Lock)


def turn(*program: Hashable) -> Lock:
    """The lock to hold until that program has returned.

    Of two threads the second finds it compiled. And two runs at once of a program with a LAPACK routine (orthogonal
    directions), which borrows XLA's threads, wait for each other for ever.
    """
    return _locks[program]
