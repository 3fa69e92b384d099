"""What a figure is: a title, the records it is drawn from, and a function of those records."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from sims.records.store import Record, latest, manifests

Records = Mapping[str, Record]


class Plot(NamedTuple):
    """A figure, pure in its records."""

    title: str
    needs: Mapping[str, tuple[str, ...]]
    """Experiments whose newest records with these variables are drawn; all of them are read."""
    draw: Callable[[Records], Figure]


def gather(plot: Plot, out: Path) -> dict[str, Record]:
    """The newest record of every experiment that the figure needs, by name.

    Raises ValueError naming the command that makes a record which is missing, damaged or without a variable.
    """
    return {experiment: latest(out, experiment, variables) for experiment, variables in plot.needs.items()}


def never_run(plot: Plot, out: Path) -> list[str]:
    """The experiments that the figure needs and that have no record at all under `out`."""
    return [name for name in plot.needs if not manifests(out, name)]


def victim(record: Record) -> str:
    """Models and data set of the record, as in `cnn on digits`; ValueError as `victim_options`."""
    options = victim_options(record)
    return f"{', '.join(options['model'])} on {options['dataset']}"


def victim_options(record: Record) -> dict[str, Any]:
    """The networks that were looked at: list of models, dataset and weights (a file, or None for the default ones).

    Raises ValueError naming the command to run again for a record that does not say.
    """
    options = record.manifest["config"].get("victim")
    if options is None:
        raise ValueError(f"record {record.folder} names no victim; run {again(record)}")
    return options


def again(record: Record) -> str:
    """The command that makes a record of that experiment anew."""
    return f"`python -m sims {record.folder.parent.name}` again"
