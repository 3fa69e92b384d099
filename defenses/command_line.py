"""The command line of the defences: parse, run, one line for bad input; jax is imported only once a command runs.

Exit status 0 done, 2 bad input.
"""

import contextlib
import io
import sys
from collections.abc import Sequence
from itertools import dropwhile, takewhile
from typing import Annotated

import tyro

from defenses.commands.data import Data
from defenses.commands.evaluate import Evaluate
from defenses.commands.list import List
from defenses.commands.train import Train

BAD_INPUT = 2
Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
)


def main(arguments: Sequence[str]) -> int:
    """Run the command spelt by `arguments`; returns 0, or 2 on bad input with one line on stderr."""
    try:
        parsed(arguments).run()
    except Exception as error:
        return answer(error)
    return 0


def answer(error: Exception) -> int:
    """Print one line for bad input, or for what the machine cannot hold, and return the exit status; raise any other.

    A device without room raises XlaRuntimeError, which is told from others by its text.
    """
    lacks_room = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
    if lacks_room:
        print(f"error: too little memory: {printable(str(error))}", file=sys.stderr)
    elif isinstance(error, ValueError | OSError | OverflowError):
        print(f"error: {printable(str(error))}", file=sys.stderr)
    else:
        raise error
    return BAD_INPUT


def printable(message: str) -> str:
    """The message on one line; what is not printable, such as a file name's escape sequences, becomes U+FFFD."""
    return "".join(character if character.isprintable() else "\ufffd" for character in " ".join(message.split()))


def parsed(arguments: Sequence[str]) -> List | Data | Train | Evaluate:
    """The command spelt by `arguments`, bare = `list`; raises ValueError for what tyro refuses."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(Command, prog="python -m defenses", args=list(arguments) or ["list"])
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(first_message(box.getvalue())) from None


def first_message(box: str) -> str:
    """The first paragraph of a box that tyro draws around an error, on one line.

    The box has a title, then paragraphs between rules; without a UTF-8 terminal its sides are blanks.
    """
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    paragraph = takewhile(_is_text, dropwhile(lambda line: not _is_text(line), lines))
    return " ".join(paragraph)


def _is_text(line: str) -> bool:
    return bool(line.strip("─-╰╯"))
