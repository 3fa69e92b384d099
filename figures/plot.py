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
    """Experiments whose newest records are drawn, each with the variables that are read."""
    draw: Callable[[Records], Figure]


def gather(plot: Plot, out: Path) -> dict[str, Record]:
    """The newest record of every experiment that the figure needs, by name.

    Raises ValueError naming the command that makes a record which is missing, damaged or without a variable.
    """
    found = {}
    for experiment, variables in plot.needs.items():
        record = latest(out, experiment)
        absent = [name for name in variables if name not in record.data]
        if absent:
            raise ValueError(
                f"record {record.folder} has no {', '.join(absent)}; run `python -m sims {experiment}` again"
            )
        found[experiment] = record
    return found
