"""The marks that all figures share: theory is a line, a measurement is a point with its 95 % interval."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def colour(index: int) -> str:
    """The colour of a curve, the same in every figure for the same place in the record."""
    return f"C{index}"


def measured(axes: Axes, x, y, half_width, index: int, label: str | None = None) -> None:
    """Points with bars of ± half_width, in the colour and shape of the curve's index."""
    axes.errorbar(
        np.asarray(x),
        np.asarray(y),
        yerr=np.asarray(half_width),
        color=colour(index),
        marker=MARKERS[index % len(MARKERS)],
        linestyle="none",
        elinewidth=0.8,
        zorder=3,
        label=label,
    )


def predicted(axes: Axes, x, y, index: int) -> None:
    """A line in the colour of the curve's index."""
    axes.plot(np.asarray(x), np.asarray(y), color=colour(index), zorder=2)


def key_line(label: str, linestyle: Literal["-", "--"] = "-") -> Line2D:
    """A legend entry for a kind of line, in black because the kind holds for every colour."""
    return Line2D([], [], color="black", linestyle=linestyle, label=label)


def key_point(label: str, marker: str = "o", paint: str = "black", hollow: bool = False) -> Line2D:
    """A legend entry for a kind of point."""
    face = "white" if hollow else paint
    return Line2D([], [], label=label, color=paint, marker=marker, markerfacecolor=face, linestyle="none")


def attack_title(name: str) -> str:
    """What an attack is called above its panel."""
    titles = {"nes": "NES", "square": "Square", "null": "null: clean image resubmitted"}
    kind, _, settings = str(name).partition(":")
    return f"{titles.get(kind, spoken(kind))}{f' ({settings})' if settings else ''}"


def spoken(name: str) -> str:
    """A kebab-case name as words; a strength after its colon stays."""
    return str(name).replace("-", " ").replace(":", " ")
