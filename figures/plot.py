"""What a figure is: a title, the records it is drawn from, and a function of those records."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from sims.records import Record, latest

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


def victim(record: Record) -> str:
    """Model and data set of the record, as in `cnn on digits`."""
    options = record.manifest["config"]["victim"]
    return f"{options['model']} on {options['dataset']}"
