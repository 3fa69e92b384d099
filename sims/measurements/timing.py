"""Seconds of several calls, taken in turn in one process, so that a slow moment of the machine meets all of them."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

Call = Callable[[], Any]


def in_turn(
    calls: Sequence[Call], rounds: int, advance: Callable[[int, int], None] = lambda done, total: None
) -> Float[np.ndarray, "rounds calls"]:
    """Seconds of every call in every round, after a first round that compiles. advance: (rounds done, rounds)."""
    for call in calls:
        call()
    seconds = np.zeros((rounds, len(calls)))
    for i in range(rounds):
        advance(i, rounds)
        seconds[i] = [_seconds(call) for call in calls]
    advance(rounds, rounds)
    return seconds


def _seconds(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
