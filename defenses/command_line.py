"""The commands of `python -m defenses`; jax is imported only once a command runs."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any

import tyro

BAD_INPUT = 2


@dataclass(frozen=True)
class List:
    """List classifiers, defences and data sets."""

    json: bool = False
    """Print one JSON document on stdout and nothing else."""


@dataclass(frozen=True)
class Train:
    """Train and cache the classifiers and purifiers of a data set."""

    dataset: str = "digits"
    """Data set to train on."""
    seed: int = 0
    """Seed of every draw, at least 0."""
    out: Path = Path("results")
    """Folder of results; weights go to its folder `models`."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""


@dataclass(frozen=True)
class Evaluate:
    """Measure a classifier's accuracy on held-out images, behind a defence."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Classifier, one of those listed."""
    dataset: str = "digits"
    """Data set whose held-out images are used."""
    defense: str = "none"
    """Defence, one of those listed."""
    seed: int = 0
    """Seed of every draw, at least 0."""
    out: Path = Path("results")
    """Folder of results; weights are read from its folder `models`."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""


Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
)


def main(arguments: Sequence[str]) -> int:
    """Run the command spelt by `arguments`; returns 0, or 2 on bad input with one line on stderr."""
    try:
        command = parsed(arguments)
        RUN[type(command)](command)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    return 0


def parsed(arguments: Sequence[str]) -> List | Train | Evaluate:
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


def list_tables(command: List) -> None:
    """Print the names in the zoo's tables."""
    from defenses import zoo

    tables = {"classifiers": zoo.CLASSIFIERS, "defenses": zoo.DEFENSES, "datasets": zoo.DATASETS}
    names = {title: list(table) for title, table in tables.items()}
    if command.json:
        print(json.dumps(names))
    else:
        _print_table("purebound defenses", ["table", "names"], [[t, ", ".join(n)] for t, n in names.items()])


def train(command: Train) -> None:
    """Train what is not cached yet and print one table of accuracies and files."""
    from defenses import zoo

    rows = []
    for name, weights_of in zoo.TRAINED.items():
        weights = weights_of(command.dataset, command.seed, command.out / "models")
        measured = weights.card["measured"]
        rows.append({"model": name, **measured, "cached": weights.cached, "file": str(weights.path)})
    if command.json:
        print(json.dumps({"trained": rows}))
        return
    cells = [[row["model"], _percent(row), "cached" if row["cached"] else "trained", row["file"]] for row in rows]
    title = f"{command.dataset}, seed {command.seed}: held-out images (purifiers: cnn behind their average)"
    _print_table(title, ["model", "accuracy", "state", "file"], cells)


def evaluate(command: Evaluate) -> None:
    """Print the accuracy of a classifier behind a defence on the held-out images."""
    from defenses import zoo
    from defenses.evaluation import accuracy

    key = (command.dataset, command.seed, command.out / "models")
    defense = zoo.entry("defense", zoo.DEFENSES, command.defense)
    classifier = zoo.classifier(command.model, *key)
    measured = accuracy(classifier, defense(*key), zoo.load(command.dataset).test, command.seed)
    names = {"model": command.model, "dataset": command.dataset, "defense": command.defense}
    row = {**names, **measured._asdict()}
    if command.json:
        print(json.dumps(row))
    else:
        cells = [*names.values(), str(measured.images), _percent(row)]
        _print_table("accuracy on held-out images", [*names, "images", "accuracy"], [cells])


RUN: dict[type, Callable[[Any], None]] = {List: list_tables, Train: train, Evaluate: evaluate}


def _percent(row: dict[str, Any]) -> str:
    return f"{100 * row['accuracy']:.2f} ± {100 * row['standard_error']:.2f} %"


def _print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout; cells too long for the terminal are folded, never cut."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
