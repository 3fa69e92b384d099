"""The claim is luck: what an attack says is left of a random defence, beside what fresh draws leave."""

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.marks import colour, key_point, spoken
from figures.plot import Plot, Records, victim
from sims.intervals import Z

Row = dict[str, Any]


def draw(records: Records) -> Figure:
    """One panel per defence that was judged by several draws, or per defence where none was; a line per attack."""
    record = records["attack"]
    report, images = record.manifest["report"], record.data.sizes["image"]
    title = f"{victim(record)}, {images} images, {report['query_budget']} queries"
    panels = by_defense(report["rows"])
    attacks = len(next(iter(panels.values())))
    figure = Figure(figsize=(1.7 + 2.65 * len(panels), 1.5 + 0.19 * attacks))
    figure.suptitle(title, fontsize=8.5)
    for axes, (defense, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        _panel(axes, rows)
        axes.set_title(textwrap.fill(spoken(defense), 34))
    marks = [
        key_point("claimed by the attack: its first success counts", paint=colour(1), hollow=True),
        key_point("left over fresh draws of its images, on average", paint=colour(0)),
        key_point("fooled by no draw", marker="|", paint=colour(0)),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, title="bars: 95 % intervals", title_fontsize=7)
    return figure


def by_defense(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each defence that was drawn several times, or of all where none was; the lowest claim last."""
    found: dict[str, list[Row]] = {}
    several = any(row["evaluations"] > 1 for row in rows)
    for row in rows:
        if row["evaluations"] > 1 or not several:
            found.setdefault(row["defense"], []).append(row)
    return {name: sorted(rows, key=lambda row: -row["robust_accuracy"]) for name, rows in found.items()}


def _panel(axes: Axes, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        claim, average, none = (100 * row[k] for k in ("robust_accuracy", "robust_average_of_n", "robust_worst_of_n"))
        low, high = (100 * end for end in row["interval"])
        axes.plot([claim, average], [place, place], color="0.75", linewidth=1.6, zorder=1)
        width = 100 * Z * row.get("robust_average_standard_error", 0.0)
        axes.errorbar(average, place, xerr=width, color=colour(0), marker="o", elinewidth=0.8, zorder=3)
        around = [[max(claim - low, 0)], [max(high - claim, 0)]]
        axes.errorbar(claim, place, xerr=around, color=colour(1), marker="o", markerfacecolor="white", elinewidth=0.8)
        axes.plot([none], [place], color=colour(0), marker="|", markersize=7, linestyle="none", zorder=2)
    axes.set_yticks(range(len(rows)), [textwrap.shorten(spoken(row["attack"]), 34, placeholder=" …") for row in rows])
    axes.set(xlim=(-2, 102), ylim=(-0.6, len(rows) - 0.4), xlabel="robust accuracy  (% of images)")
    axes.grid(axis="y", visible=False)


PLOT = Plot("Claims of attacks beside fresh draws of their images", {"attack": ("fooled",)}, draw)
