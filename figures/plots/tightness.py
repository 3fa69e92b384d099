"""Measured over bound for every row of `verify`, a line per statement, grouped by section."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.marks import key_point
from figures.plot import Plot, Records, victim
from sims.intervals import Z
from theory.catalogue import CATALOGUE

SECTIONS = {"S": "smoothing", "E": "estimators", "P": "patches", "C": "convergence"}
MARKERS = {"upper": "<", "equality": "o", "lower": ">"}
COLOURS = {"proven": "C0", "variant": "C4"}
VIOLATED = "C1"
LEFT = 1e-4
"""Smallest ratio on the axis; rows below it are drawn on the edge."""
CLOSE = (0.94, 1.06)
"""The ratios of the panel on the right, where the intervals can be seen."""


def draw(records: Records) -> Figure:
    """A row of panels per section: all ratios on a log axis, and those near 1 again; every row is a point."""
    record = records["verify"]
    data = record.data
    groups = sections(data["label"].values)
    heights = [len(labels) + 1 for labels in groups.values()]
    figure = Figure(figsize=(7, 1.4 + 0.135 * sum(heights) + 0.17 * len(groups)))
    panels = figure.subplots(
        len(groups), 2, sharex="col", sharey="row", squeeze=False, height_ratios=heights, width_ratios=(2, 1)
    )
    for (wide, close), (letter, labels) in zip(panels, groups.items(), strict=True):
        _panel(wide, data, labels)
        _panel(close, data, labels)
        wide.set_yticks(range(len(labels)), labels, fontsize=6.5)
        wide.set_ylim(len(labels) - 0.4, -0.6)
        wide.set_title(SECTIONS.get(letter, letter), loc="left", fontsize=7.5)
    panels[0, 0].set(xscale="log", xlim=(LEFT / 1.5, _right(data)))
    panels[0, 1].set(xlim=CLOSE)
    panels[-1, 0].set_xlabel("tightness: measured / bound  (no unit)")
    panels[-1, 1].set_xlabel("near 1, with 95 % intervals")
    title = f"filled: certified instances; hollow: {victim(record)}"
    figure.legend(handles=_key(), loc="outside upper center", ncols=4, title=title, title_fontsize=8.5)
    return figure


def sections(labels: np.ndarray) -> dict[str, list[str]]:
    """The statements of the record, each once, in the catalogue's order, by the letter of their section."""
    order = {label: place for place, label in enumerate(CATALOGUE)}
    groups: dict[str, list[str]] = {}
    for label in sorted({str(label) for label in labels}, key=lambda label: order.get(label, len(order))):
        groups.setdefault(label[0], []).append(label)
    return groups


def shown_ratio(tightness: np.ndarray) -> np.ndarray:
    """The ratio as drawn: one below the axis, negative, or of a bound of 0 lies on the left edge."""
    return np.where(tightness > LEFT, tightness, LEFT)


def _right(data: xr.Dataset) -> float:
    return 2 * max(1.0, float(np.max(shown_ratio(data["tightness"].values))))


def _panel(axes: Axes, data: xr.Dataset, labels: list[str]) -> None:
    axes.axvline(1, color="black", linewidth=0.8, zorder=1)
    axes.tick_params(axis="y", length=0)
    names = data["label"].values
    for i in np.flatnonzero(np.isin(names, labels)):
        _point(axes, data.isel(row=i), labels.index(str(names[i])))


def _point(axes: Axes, row: xr.Dataset, height: int) -> None:
    ratio, colour = float(shown_ratio(row["tightness"].values)), COLOURS[row["status"].item()]
    if ratio > LEFT:
        half_width = Z * row["error"].item() / abs(row["bound"].item())
        ends = [max(ratio - half_width, LEFT), ratio + half_width]
        axes.plot(ends, [height, height], color=colour, linewidth=0.8, zorder=2)
    marker = MARKERS[row["sense"].item()] if ratio > LEFT else "|"
    face = colour if row["certified"].item() else "white"
    axes.plot(ratio, height, marker=marker, color=colour, markerfacecolor=face, zorder=3)
    if row["violated"].item():
        axes.plot(ratio, height, marker="o", markersize=8, markerfacecolor="none", color=VIOLATED, zorder=4)


def _key() -> list[Line2D]:
    return [
        key_point("upper bound: left of 1", "<"),
        key_point("equality: at 1", "o"),
        key_point("lower bound: right of 1", ">"),
        key_point(f"at most {LEFT:g}", "|"),
        key_point("proven", "o", COLOURS["proven"]),
        key_point("variant", "o", COLOURS["variant"]),
        key_point("hollow: estimated constants", "o", hollow=True),
        key_point("ringed: violated", "o", VIOLATED, hollow=True),
    ]


PLOT = Plot(
    "Tightness of every statement",
    {"verify": ("label", "status", "sense", "certified", "error", "bound", "tightness", "violated")},
    draw,
)
