"""Control-C: one line that says how to go on, exit status 130, and nothing else, whatever was going on.

The process leaves at once and unwinds nothing, as under a kill, for which everything is written whole or not at all:
an exception may be swallowed by a callback, wait for other threads, or end in a library's crash while the interpreter
shuts down. A thread watches for the signal, because Python's own handlers wait until a compiled computation is over.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import NoReturn

INTERRUPTED = 130  # as shells count it: 128 + SIGINT
STARTS_AGAIN = "interrupted; the same command starts again"
GOES_ON = "interrupted; the same command goes on where it stopped"
SHOW_CURSOR = "\x1b[?25h"  # which a progress bar has hidden

_saved: list[Path] = []  # the folder of the present run's state, when it has one


def run_command(module: str) -> NoReturn:
    """Leave with the exit status of that module's `main(arguments)`, or as interrupted; it is imported only now."""
    ignored = signal.getsignal(signal.SIGINT) is not signal.default_int_handler  # by a shell's background jobs
    if os.name == "posix" and not ignored:  # elsewhere Python's own handler has to do
        _watch()
    try:
        status = import_module(module).main(sys.argv[1:])
    except KeyboardInterrupt:
        _leave()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def resumes_from(folder: Path) -> None:
    """From now on an interruption says that the same command goes on, where the folder holds a state by then."""
    _saved[:] = [folder]


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Inside, an interruption is a KeyboardInterrupt, so that what would be left behind half done is removed first."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a job in the background is left alone
        yield
        return
    watched, handler = signal.set_wakeup_fd(-1), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.set_wakeup_fd(watched)


def _watch() -> None:
    seen, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    signal.signal(signal.SIGINT, lambda *_: None)  # the thread is told all the same
    Thread(target=lambda: _leave_at_interrupt(seen), daemon=True).start()


def _leave_at_interrupt(seen: int) -> None:
    """Wait for Control-C; other signals that have a handler in Python, such as SIGCHLD, are told here too."""
    while signum := os.read(seen, 1):
        if signum[0] == signal.SIGINT:
            _leave()


def _leave() -> NoReturn:
    line = GOES_ON if any(path for folder in _saved for path in folder.glob("*")) else STARTS_AGAIN
    below_the_bars = f"{SHOW_CURSOR}\n" if os.isatty(2) else ""
    os.write(2, f"{below_the_bars}{line}\n".encode())
    os._exit(INTERRUPTED)
