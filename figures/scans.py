"""Scans: clean, attacked and purified images per defence, with the true label and the outcome."""

import textwrap

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.marks import attack_title, spoken
from figures.plot import Plot, Records, victim

LETTERS = 15
"""Letters of the title per inch of the page."""
OUTCOMES = {True: ("fooled", "C1"), False: ("resisted", "C0")}


def draw(records: Records) -> Figure:
    """A row per image: the clean scan, then attacked and purified per defence, under the first attack."""
    record = records["attack"]
    data = record.data.isel(attack=0)
    defenses, images = data["defense"].values, data["shown"].values
    columns = 1 + 2 * len(defenses)
    figure = Figure(figsize=(columns, 1.13 * len(images) + 0.7))
    lines = (
        f"{victim(record)}; {attack_title(data['attack'].item())} on the first image of {len(images)} classes",
        "purified: one draw of the defence on the attacked image",
    )
    figure.suptitle("\n".join(textwrap.fill(line, LETTERS * columns) for line in lines), fontsize=8.5)
    grid = figure.subplots(len(images), columns, squeeze=False)
    for row, image in enumerate(images):
        _row(grid[row], data.isel(shown=row, image=image))
    for axes, title in zip(grid[0], _titles(defenses), strict=True):
        axes.set_title(title, fontsize=7.5)
    return figure


def _titles(defenses: np.ndarray) -> list[str]:
    names = [textwrap.fill(spoken(name), 14) for name in defenses]
    return ["clean", *(f"{name}\n{kind}" for name in names for kind in ("attacked", "purified"))]


def _row(panels: np.ndarray, scan: xr.Dataset) -> None:
    _show(panels[0], scan["shown_clean"].values)
    panels[0].set_ylabel(f"label {scan['label'].item()}")
    for i in range(scan.sizes["defense"]):
        cell, (attacked, purified) = scan.isel(defense=i), panels[1 + 2 * i : 3 + 2 * i]
        outcome, colour = OUTCOMES[bool(cell["success"])]
        _show(attacked, cell["shown_adversarial"].values)
        _show(purified, cell["shown_purified"].values)
        attacked.set_xlabel(f"{outcome}, {cell['queries'].item()} queries", color=colour, fontsize=6.5, labelpad=2)
        for axes in (attacked, purified):
            axes.spines[:].set(visible=True, color=colour, linewidth=1.4)


def _show(axes: Axes, image: Float[np.ndarray, "h w c"]) -> None:
    """One image in [0, 1]; a single channel is drawn in grey."""
    shown = np.clip(image, 0, 1)  # a defence may leave the box
    axes.imshow(shown.squeeze(-1) if shown.shape[-1] == 1 else shown, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set(visible=True, color="0.6")


PLOT = Plot(
    "Clean, attacked and purified scans",
    {"attack": ("shown_clean", "shown_adversarial", "shown_purified", "label", "success", "queries")},
    draw,
)
