"""V, ν and ν₂ of a purifier pool against its size K, image-wise and patch-wise; P2 predicts V."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.marks import key_line, key_point, measured, predicted
from figures.plot import Plot, Records, victim
from sims.intervals import mean_and_half_width
from sims.records.store import Record
from theory.catalogue import find

DODGE = 0.12
"""Shift of neighbouring points in K, so that their intervals do not hide each other."""


def draw(records: Records) -> Figure:
    """Three panels over the record `diversity`."""
    record = records["diversity"]
    figure = Figure(figsize=(7, 3.2))
    figure.suptitle(f"{victim(record)}, {record.data.sizes['image']} images", fontsize=8.5)
    panels = figure.subplots(1, 3)
    _panel(panels[0], record, record.data["variance"])
    _panel(panels[1], record, np.sqrt(record.data["nu_squared"]))
    _panel(panels[2], record, np.sqrt(record.data["nu2_squared"]))
    for i, patch in enumerate(record.data["patch_size"].values):
        predicted(panels[0], *predicted_variance(record, int(patch)), i)
    panels[0].set(title="loss-level variance", ylabel="V  (logit units²)")
    panels[1].set(title="worst-pair diversity", ylabel="ν  (pixel units)")
    panels[2].set(title="mean-square diversity", ylabel="ν₂  (pixel units)")
    kinds = [key_line("P2 from the largest K (an identity for subsets)"), key_point("mean over images, 95 % interval")]
    handles = [*panels[0].get_legend_handles_labels()[0], *kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(panels))
    return figure


def predicted_variance(record: Record, patch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pool sizes and (1 − 1/K) V_∞, with V_∞ from the mean V of the largest pool."""
    means = record.data["variance"].sel(patch_size=patch_size).mean("image")
    largest = int(means["pool_size"].max())
    limit = float(means.sel(pool_size=largest)) / (1 - 1 / largest)
    sizes = np.arange(int(means["pool_size"].min()), largest + 1)
    return sizes, np.array([find("P2-mean")(K=int(k), V=limit) for k in sizes])


def _panel(axes: Axes, record: Record, quantity) -> None:
    sizes, patches = record.data["pool_size"].values, record.data["patch_size"].values
    for i, patch in enumerate(patches):
        value, half_width = mean_and_half_width(quantity.sel(patch_size=patch), "image")
        label = "whole image" if patch == record.data.attrs["side"] else f"patches {patch} × {patch}"
        measured(axes, sizes + DODGE * (i - (len(patches) - 1) / 2), value, half_width, i, label)
    axes.set(xlabel="purifiers in the pool K", xticks=sizes)
    axes.set_ylim(bottom=0)


PLOT = Plot(
    "Diversity of a purifier pool against its size",
    {"diversity": ("variance", "nu_squared", "nu2_squared")},
    draw,
)
