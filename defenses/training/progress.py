"""Progress of a loop on stderr, once it has taken long enough to be worth drawing."""

import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import track

PATIENCE = 2.0  # seconds before a bar is drawn


def watched(steps: range, title: str) -> Iterator[int]:
    """Yield `steps`, with a progress bar on stderr from the moment that `PATIENCE` has run out."""
    started = time.monotonic()
    remaining = iter(steps)
    done = 0
    for step in remaining:
        yield step
        done += 1
        if time.monotonic() - started > PATIENCE:
            break
    yield from track(
        remaining,
        title,
        total=len(steps),
        completed=done,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
