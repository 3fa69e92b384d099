"""The commands of `python -m theory`."""

import contextlib
import io
import json as json_format
import re
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Annotated

import tyro

from theory.bound import latex
from theory.catalogue import CATALOGUE, find

_Label = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="LABEL")]
_Settings = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")]
_Json = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def list_statements(json: _Json = False) -> int:
    """List all statements.

    Args:
        json: print one JSON document instead of a table.
    """
    rows = [
        {key: getattr(bound, key) for key in ("label", "name", "sense", "status", "statement", "source")}
        for bound in CATALOGUE.values()
    ]
    if json:
        _print_json(rows)
        return 0
    width = max(len(row["label"]) for row in rows)
    for row in rows:
        print(f"{row['label']:<{width}}  {row['sense']:<8}  {row['status']:<7}  {row['statement']}")
    return 0


def show(label: _Label) -> int:
    """Show a statement: formula, assumptions, source and the steps of its derivation.

    A step is proved, by sympy and now, or assumed, with where it is proved.

    Args:
        label: the statement, e.g. E3-forward.
    """
    bound = find(label)
    print(f"{bound.label}: {bound.name}  ({bound.sense}, {bound.status})\n{bound.statement}\n")
    print(f"formula      {bound.expr}\nlatex        {bound.latex()}\nvalues       {', '.join(bound.parameters)}")
    for assumption in bound.assumptions:
        checked = "" if assumption.condition is None else "  [checked]"
        print(f"assumes      {assumption.text}{checked}")
    print(f"source       {bound.source}\n")
    try:
        steps = bound.derivation()
    except AssertionError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    for number, step in enumerate(steps, 1):
        print(f"step {number} ({step.standing}): {step.text}\n    {step.left} {step.relation} {step.right}")
        print(f"    ${latex(step.left)} {'=' if step.relation == '=' else chr(92) + 'le'} {latex(step.right)}$")
    return 0


def evaluate(label: _Label, set: _Settings = (), json: _Json = False) -> int:
    """Evaluate a statement in float64 and name the assumptions that its values violate.

    Args:
        label: the statement, e.g. E3-forward.
        set: one value, NAME=NUMBER, or NAME=1,2,3 for an array; repeat for each value.
        json: print one JSON document instead of text.
    """
    bound = find(label)
    values: dict[str, object] = {}
    for setting in set:
        name, value = _parsed(setting)
        if name in values:
            raise ValueError(f"--set {name} must be given once, got it twice")
        values[name] = value
    value, violated = bound(**values), bound.violated(**values)
    if json:
        _print_json({"label": bound.label, "value": value, "violated": list(violated)})
        return 0
    print(f"{bound.label} = {value!r}")
    for text in violated:
        print(f"violated: {text}")
    return 0


def check_all(json: _Json = False) -> int:
    """Assert every derivation and compare float64 with mpmath for every statement.

    Args:
        json: print one JSON document instead of a table.
    """
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn

    from theory.verification import check

    findings = []
    columns, console = (*Progress.get_default_columns(), TimeElapsedColumn()), Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("checking", total=len(CATALOGUE))
        for bound in CATALOGUE.values():
            progress.update(task, description=bound.label)
            findings.append(check(bound))
            progress.advance(task)
    if json:
        _print_json([{**vars(finding), "ok": not finding.failure} for finding in findings])
    else:
        for finding in findings:
            outcome = f"FAILED  {finding.failure}" if finding.failure else "ok"
            print(
                f"{finding.label:<24}{finding.steps:>3} steps  float64 off by {finding.relative_error:.1e}  {outcome}"
            )
    return 1 if any(finding.failure for finding in findings) else 0


_COMMANDS = {"list": list_statements, "show": show, "eval": evaluate, "check": check_all}


def main(arguments: list[str]) -> int:
    """Run one command; bare, `list`. Returns the exit status: 0 done, 1 a check failed, 2 bad input.

    Bad input is answered by one line on stderr.
    """
    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints):
            call = tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in _COMMANDS.items()},
                prog="python -m theory",
                description="Bounds and exact moments of query attacks on randomised defences.",
                args=arguments or ["list"],
            )
    except SystemExit as exit_request:
        if exit_request.code:
            print(f"error: {_one_line(complaints.getvalue())}", file=sys.stderr)
            return 2
        return 0
    try:
        return call()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _deferred(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """Return the command as tyro sees it, giving back the call instead of making it."""

    @wraps(command)
    def parsed(*positional: object, **named: object) -> Callable[[], int]:
        return partial(command, *positional, **named)

    return parsed


def _parsed(setting: str) -> tuple[str, float | int | list[float]]:
    name, equals, text = setting.partition("=")
    try:
        if not name or not equals:
            raise ValueError
        if "," in text:
            return name, [float(entry) for entry in text.removesuffix(",").split(",")]
        return name, int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise ValueError(f"--set must be NAME=NUMBER or NAME=1,2,3 for an array, got {setting!r}") from None


def _print_json(document: object) -> None:
    print(json_format.dumps(document, ensure_ascii=False, allow_nan=False))


def _one_line(message: str) -> str:
    """Return the complaint without its frame, its rules and the pointer to the help text."""
    words = " ".join(re.sub(r"[╭╮╰╯│─|]+|[-+]{3,}", " ", message).split())
    return words.split("For full helptext")[0].removeprefix("Unrecognized options ").strip() or "bad arguments"
