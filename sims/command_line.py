"""The command line of the simulations: parse, look for the record, run, write it, print.

Exit status 0 done, 1 a check failed, 2 bad input (one line on stderr).
"""

import contextlib
import io
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from defenses.command_line import answer
from defenses.commands.interruption import resumes_from
from defenses.commands.tables import print_table
from defenses.files.folders import Folders, data_folder
from sims.attacks.attack import Threat, covers_box
from sims.attacks.listing import list_attacks
from sims.experiments.cells.status import list_status
from sims.experiments.experiment import EXPERIMENTS, Context, Experiment, Plan, check_memory, find_experiment
from sims.records import store
from sims.records.code import code_hash
from sims.records.key import key_of, settings_of
from sims.records.lock import once
from sims.records.provenance import provenance
from sims.white_box.listing import list_white_box

Config = TypeVar("Config")
LISTINGS = {"attacks": list_attacks, "white-box-attacks": list_white_box, "status": list_status}


@dataclass(frozen=True)
class Command(Generic[Config]):
    """One run of an experiment."""

    config: tyro.conf.OmitArgPrefixes[Config]
    out: Path = Path("results")
    """Folder for records and trained weights."""
    data_dir: Path = field(default_factory=data_folder)
    """Folder of data sets and published weights; $PUREBOUND_DATA changes the default."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""
    dry_run: bool = False
    """Print what the run would cost, and stop."""
    recheck: Path | None = None
    """Folder of a saved record whose claims are checked again; nothing is run, and the record's own options count."""


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status.

    Matrix products keep float32's precision on every device: differences of losses do not survive less.
    """
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        if not argv:
            return _list()
        if argv[0] in LISTINGS:
            return _listing(argv[0], argv[1:])
        experiment = None if argv[0] in ("-h", "--help") else find_experiment(argv[0])
        if experiment is None:
            return _list()
        return _run(argv[0], experiment, _parse(argv[0], experiment, argv[1:]))
    except Exception as error:
        return answer(error)


def _list() -> int:
    print("usage: python -m sims EXPERIMENT [options]; EXPERIMENT --help shows them with defaults and units\n")
    for name, (_, purpose) in EXPERIMENTS.items():
        print(f"  {name:<18} {purpose}")
    print("  attacks            the table of query attacks, with their settings and sources")
    print("  white-box-attacks  the table of attacks that see gradients")
    print("  status             which records and cells are done, running, stale (of older code) or missing")
    return 0


def _listing(name: str, argv: Sequence[str]) -> int:
    with _one_complaint():
        return tyro.cli(LISTINGS[name], args=list(argv), prog=f"python -m sims {name}")


def _parse(name: str, experiment: Experiment, argv: Sequence[str]) -> Command:
    """The parsed options; what the parser objects to becomes one ValueError."""
    with _one_complaint():
        return tyro.cli(
            Command[experiment.config],
            args=list(argv),
            prog=f"python -m sims {name}",
            description=EXPERIMENTS[name][1],
        )


@contextlib.contextmanager
def _one_complaint() -> Iterator[None]:
    """What the parser objects to becomes one ValueError of one line."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            yield
    except SystemExit as stop:
        if stop.code == 0:
            raise
        words = " ".join(word for word in complaint.getvalue().split() if word.strip("─│╭╮╰╯-+|"))
        words = words.split(" For full helptext")[0].split(" Argument helptext:")[0]
        line = re.sub(r"^Value error Error parsing config[.\w]*: ", "", words)
        line = re.sub(r"^Value error Error parsing --[-\w]+: (?=.* must be )", "", line)  # it names its setting itself
        line = re.sub(r"^Value error Error parsing (--[-\w]+):", r"\1:", line)
        raise ValueError(line or "the options could not be read") from None


def _run(name: str, experiment: Experiment, command: Command) -> int:
    if command.recheck is not None:
        return _recheck(name, experiment, command, command.recheck)
    if command.dry_run:
        _warn(experiment.threats(command.config))
        return _show_plan(experiment.plan(command.config), command.json)
    run = _asked(name, experiment, command)
    known = (run.folder / "manifest.json").exists()
    if not known:
        check_memory(experiment.plan(command.config))
        store.prepare(command.out, name)
    _warn(experiment.threats(command.config))
    once(run.folder, lambda: _compute(experiment, command, run))
    record = store.recall(run.folder)
    report = record.manifest["report"]
    if command.json:
        print(json.dumps(report, allow_nan=False))
    else:
        _show(name, report, experiment.columns)
        print(f"{'already done' if known else 'done'}: {run.folder}")
    return 0 if report.get("ok", True) else 1


class _Asked(NamedTuple):
    """A question: what its manifest says of it, the modules that answer it with their hash, and the record's folder."""

    said: dict[str, Any]
    modules: list[str]
    code: str
    folder: Path


def _asked(name: str, experiment: Experiment, command: Command) -> _Asked:
    from sims.experiments.cells.modules import chosen_modules  # with all networks: listings and help need none

    config = settings_of(command.config)
    inputs = experiment.inputs(command.config, Folders(command.out / "models", command.data_dir))
    modules = sorted({EXPERIMENTS[name][0], *chosen_modules((command.config, experiment.choices(command.config)))})
    code = code_hash(modules)
    said = {"experiment": name, "config": config, "inputs": inputs}
    return _Asked(said, modules, code, command.out / name / key_of([name, config, inputs], code))


def _warn(threats: list[Threat]) -> None:
    """One line on stderr for a radius that was meant in units of 1/255."""
    covering = [threat.epsilon for threat in threats if covers_box(threat)]
    if covering:
        epsilon = f"{covering[0]:g}"
        print(f"warning: epsilon {epsilon} covers the whole box [0, 1]; is it {epsilon}/255?", file=sys.stderr)


def _recheck(name: str, experiment: Experiment, command: Command, folder: Path) -> int:
    if experiment.recheck is None:
        raise ValueError(f"recheck must be given to an experiment whose records are rechecked, not to {name}")
    with _progress() as advance:
        report = experiment.recheck(store.read(folder), _context(command, folder, advance))
    if command.json:
        print(json.dumps(report, allow_nan=False))
    else:
        _show(f"{name}, rechecked", report, ())
    return 0 if report["ok"] else 1


def _context(command: Command, folder: Path, advance: Callable[[str, int, int], None]) -> Context:
    """That of a run whose record belongs in the folder."""
    folders = Folders(command.out / "models", command.data_dir)
    return Context(folders, store.states_of(folder), folder.parent / "cells", advance)


def _compute(experiment: Experiment, command: Command, run: _Asked) -> None:
    started = time.perf_counter()
    with _progress() as advance:
        context = _context(command, run.folder, advance)
        resumes_from(context.checkpoints)
        data, facts = experiment.run(command.config, context)
    manifest = {
        **run.said,
        "seconds": time.perf_counter() - started,
        "device": jax.devices()[0].device_kind,
        **provenance(run.modules, run.code),
        **facts,
    }
    manifest["report"] = experiment.report(data, manifest)
    store.write(run.folder, data, manifest)
    shutil.rmtree(context.checkpoints, ignore_errors=True)


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """A bar per task on stderr, where that is a terminal: done, total, time left; they disappear at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def advance(task: str, done: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = bar.add_task(task, total=total)
            bar.update(tasks[task], completed=done)

        yield advance


def _show_plan(plan: Plan, as_json: bool) -> int:
    if as_json:
        print(json.dumps(plan._asdict()))
    else:
        print(f"at most {plan.rows:,} rows, about {plan.seconds:.0f} s on two cores, {plan.megabytes:.0f} MB")
    return 0


def _show(name: str, report: dict[str, Any], columns: tuple[str, ...]) -> None:
    """Every list of the report as a table, every other entry as a line."""
    for key, value in report.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            shown = columns if columns and key == "rows" else tuple(value[0])
            titles = {column: column.replace("_", " ") for column in shown}
            numbers = [title for column, title in titles.items() if _is_number(value[0][column])]
            rows = [[_cell(row[column]) for column in shown] for row in value]
            print_table(f"{name}: {key}", list(titles.values()), rows, numbers)
        else:
            print(f"{key.replace('_', ' ')}: {_cell(value)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_cell(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_cell(part) for part in value)
    return str(value)
