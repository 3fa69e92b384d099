"""ZO-SGD: on the quadratic beside the exact recursion C1 and its floor; on a network per defence."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.marks import colour, key_line, key_point, measured, predicted, spoken
from figures.plot import Plot, Records, victim
from sims.intervals import Z
from sims.records.store import Record

POINTS = 16
DEPTH = 100
"""The axis of the objective ends this factor below the lowest floor; without noise there is none."""


def draw(records: Records) -> Figure:
    """The objective on the quadratic, and the mean margin on the network."""
    record = records["convergence"]
    figure = Figure(figsize=(7, 2.9))
    left, right = figure.subplots(1, 2)
    _quadratic(left, record)
    _network(right, record)
    queries = 2 * record.manifest["config"]["num_directions"]
    for axes in (left, right):
        axes.set_xlabel(f"step t  ({queries} queries each)")
    return figure


def shown_steps(steps: int) -> np.ndarray:
    """The steps at which measured points are drawn, of that many."""
    return np.unique(np.linspace(0, steps - 1, POINTS).round().astype(int))


def told_steps(margin: Float[np.ndarray, "defenses steps"]) -> int:
    """Steps that are drawn: until every mean margin is as far below 0 as the largest started above it."""
    over = (margin < -margin[:, 0].max()).all(axis=0)
    return int(np.argmax(over)) + 1 if over.any() else margin.shape[1]


def _quadratic(axes: Axes, record: Record) -> None:
    data, config = record.data, record.manifest["config"]
    shown = shown_steps(data.sizes["step"])
    for i, deviation in enumerate(data["deviation"].values):
        path = data["predicted_objective"].values[i]
        predicted(axes, np.arange(len(path)), path, i)
        values = data["objective"].values[i, shown]
        half_width = Z * data["objective_standard_error"].values[i, shown]
        measured(axes, shown, values, half_width, i, f"V = {deviation**2:.3g}")
        floor = data["predicted_floor"].values[i]
        if floor > 0:
            axes.axhline(floor, color=colour(i), linestyle="--", linewidth=0.8, zorder=1)
    axes.set(yscale="log", ylabel=r"mean objective $\mathrm{E}\,\bar F(x_t)$  (loss)")
    floors = data["predicted_floor"].values
    if (floors > 0).any():
        axes.set_ylim(bottom=floors[floors > 0].min() / DEPTH)
    axes.set_title(f"quadratic, d = {config['dimension']}")
    kinds = [key_line("recursion C1"), key_line("its floor", "--"), key_point("measured, 95 % interval")]
    axes.legend(handles=[*axes.get_legend_handles_labels()[0], *kinds])


def _network(axes: Axes, record: Record) -> None:
    data = record.data
    told = told_steps(data["margin"].values)
    steps, shown = np.arange(told), shown_steps(told)
    for i, name in enumerate(data["defense"].values):
        margin = data["margin"].values[i, :told]
        half_width = Z * data["margin_standard_error"].values[i, :told]
        axes.fill_between(steps, margin - half_width, margin + half_width, color=colour(i), alpha=0.3, linewidth=0)
        measured(axes, shown, margin[shown], half_width[shown], i, spoken(name))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.annotate(
        "fooled below",
        (1, 0),
        (-2, -3),
        ("axes fraction", "data"),
        "offset points",
        ha="right",
        va="top",
        fontsize=7,
    )
    axes.set(ylabel="mean margin  (logit units)", title=victim(record))
    axes.legend(title="bands: 95 % over chains", title_fontsize=7)


PLOT = Plot(
    "ZO-SGD beside its exact recursion, and on a network",
    {
        "convergence": (
            "objective",
            "objective_standard_error",
            "predicted_objective",
            "predicted_floor",
            "margin",
            "margin_standard_error",
        )
    },
    draw,
)
