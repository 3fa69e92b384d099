"""What an answer costs behind each defence beside the network alone, against the number K of members."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.marks import colour, measured, spoken
from figures.plot import Plot, Records, victim


def draw(records: Records) -> Figure:
    """One panel over the record `cost`: a curve for defences that differ in K alone, a line for every other."""
    record = records["cost"]
    ratios = record.data.seconds / record.data.seconds.sel(model="network")
    figure = Figure(figsize=(7, 3.2))
    figure.suptitle(f"{victim(record)}, {record.data.sizes['round']} rounds", fontsize=8.5)
    axes = figure.subplots()
    curves, lines = grouped(record.data)
    for i, (name, members) in enumerate(curves.items()):
        _curve(axes, ratios, members, i, name)
    for i, name in enumerate(lines, start=len(curves)):
        at = float(ratios.sel(model=name).median())
        axes.axhline(at, color=colour(i), linewidth=1, linestyle="--", label=f"{spoken(name)}: {at:.2f}")
    sizes = sorted({size for members in curves.values() for size in members})
    axes.set(xlabel="purifiers in the pool K", ylabel="time of an answer  (network alone: 1)", yscale="log")
    if sizes:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2, title="medians with quartiles", title_fontsize=7)
    return figure


def grouped(data: xr.Dataset) -> tuple[dict[str, dict[int, str]], list[str]]:
    """Models that differ in K alone, as {what: {K: model}}, and the names of all others but the network."""
    curves: dict[str, dict[int, str]] = {}
    lines = []
    for name, kind, members in zip(*(data[of].values.tolist() for of in ("model", "kind", "members")), strict=True):
        if members:
            curves.setdefault(kind, {})[members] = name
        elif name != "network":
            lines.append(name)
    return curves, lines


def _curve(axes: Axes, ratios: xr.DataArray, members: dict[int, str], index: int, name: str) -> None:
    sizes = sorted(members)
    low, middle, high = np.quantile([ratios.sel(model=members[k]) for k in sizes], [0.25, 0.5, 0.75], axis=1)
    measured(axes, sizes, middle, [middle - low, high - middle], index, spoken(name))
    axes.plot(sizes, middle, color=colour(index), linewidth=0.8)


PLOT = Plot("Cost of an answer against the number of purifiers", {"cost": ("seconds", "kind", "members")}, draw)
