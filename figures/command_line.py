"""The command line of the figures: list them, draw some or all of them, or print the closing table.

Exit status 0 done, 2 bad input (one line on stderr).
"""

import contextlib
import io
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from figures import rendering
from figures.pages import summary, tables
from figures.plot import never_run
from figures.registry import PLOTS


@dataclass(frozen=True)
class Command:
    """Draw figures from the records of the simulations; without a name, list them."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME ...]")] = ()
    """Figures to draw, `all` whose experiments were run, `summary` (the closing table), or `tables` (the READMEs)."""
    out: Path = Path("results")
    """Folder of the records; figures go to its folder `figures`."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON document on stdout and nothing else."""


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    try:
        command = _parse(argv)
        if not command.names:
            _list(command.json)
        elif command.names == ("summary",):
            _summarise(command)
        elif command.names == ("tables",):
            _print_tables(command.json)
        else:
            _draw(command)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(argv: Sequence[str]) -> Command:
    """The parsed options; what the parser objects to becomes one ValueError."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(Command, args=list(argv), prog="python -m figures")
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise ValueError(_one_line(complaint.getvalue())) from None


def _one_line(complaint: str) -> str:
    """The complaint without its frame, its heading and the pointer to the help text."""
    words = " ".join(re.sub(r"[╭╮╰╯│─|]+|[-+]{3,}", " ", complaint).split())
    words = re.sub(r"^(Unrecognized options|Missing argument|Parsing error) (?=[A-Z])", "", words)
    return words.split("For full helptext")[0].strip() or "the options could not be read"


def _list(as_json: bool) -> None:
    if as_json:
        _print_json([{"name": name, "title": plot.title, "records": list(plot.needs)} for name, plot in PLOTS.items()])
        return
    print("usage: python -m figures NAME… | all | summary | tables [--out FOLDER] [--json]\n")
    for name, plot in PLOTS.items():
        print(f"  {name:<16} {plot.title}  (record {', '.join(plot.needs)})")
    print(f"  {'tables':<16} The tables of the READMEs, printed anew from the records that are shipped")
    print(f"  {'summary':<16} The closing table: predicted beside measured  (records attack, verify)")


def _draw(command: Command) -> None:
    names = _all(command.out) if command.names == ("all",) else list(dict.fromkeys(command.names))
    written = rendering.render(names, command.out)
    if command.json:
        figures = [{"name": name, "files": [str(path) for path in paths]} for name, paths in written.items()]
        _print_json({"figures": figures})
        return
    for paths in written.values():
        print(*paths)


def _all(out: Path) -> list[str]:
    """Every figure, but those of experiments that were never run, which are named on stderr; ValueError without one."""
    missing = {name: never_run(plot, out) for name, plot in PLOTS.items()}
    for name, experiments in missing.items():
        for experiment in experiments:
            print(f"left out {name}: `python -m sims {experiment}` was not run", file=sys.stderr)
    names = [name for name, experiments in missing.items() if not experiments]
    if not names:
        raise ValueError(f"no record under {out}; run `make run`, or one of `python -m sims`, first")
    return names


def _summarise(command: Command) -> None:
    numbers = summary.summarise(command.out)
    if command.json:
        _print_json(numbers)
    else:
        summary.show(numbers, summary.page())


def _print_tables(as_json: bool) -> None:
    changed = [str(path) for path in tables.write()]
    if as_json:
        _print_json({"changed": changed})
    else:
        print("\n".join(changed) or "every table stands as its records have it")


def _print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))
