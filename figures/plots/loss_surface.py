"""Loss surfaces: the margin around an image, along the gradient and across it, per defence."""

import textwrap

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from figures.marks import spoken
from figures.plot import Plot, Records, victim

WIDTH = 7.0  # inches


def draw(records: Records) -> Figure:
    """A row per image, a column per defence; the black line is where the class changes."""
    record = records["masking"]
    data, config = record.data, record.manifest["config"]
    defenses, views = data["defense"].values, data.sizes["view"]
    figure = Figure(figsize=(WIDTH, 0.9 + views * 0.95 * WIDTH / (len(defenses) + 0.6)))
    figure.suptitle(
        f"{victim(record)}: margin at the image + a·g + b·r, g down the gradient, r random; ε = {config['epsilon']:g}",
        fontsize=8.5,
    )
    grid = figure.subplots(views, len(defenses), squeeze=False, sharex=True, sharey=True)
    flagged = record.manifest["report"]["flagged"]
    for row in range(views):
        scale = _scale(data["surface"].isel(view=row).values)
        shown = [
            _panel(grid[row, i], data.isel(defense=i, view=row), config["epsilon"], scale) for i in range(len(defenses))
        ]
        figure.colorbar(shown[-1], ax=grid[row], label="margin  (logit units)", pad=0.02)
        grid[row, 0].set_ylabel("a / ε")
    for axes, name in zip(grid[0], defenses, strict=True):
        mark = "\nflagged" if name in flagged else ""
        axes.set_title(textwrap.fill(spoken(name), 18) + mark, fontsize=7.5)
    for axes in grid[-1]:
        axes.set_xlabel("b / ε")
    return figure


def _panel(axes: Axes, cell: xr.Dataset, epsilon: float, scale: TwoSlopeNorm):
    across, along, margin = cell["across"].values / epsilon, cell["along"].values / epsilon, cell["surface"].values
    extent = (across[0], across[-1], along[0], along[-1])
    shown = axes.imshow(margin, norm=scale, cmap="RdBu", origin="lower", extent=extent, interpolation="nearest")
    if margin.min() < 0 < margin.max():
        axes.contour(across, along, margin, levels=[0.0], colors="black", linewidths=0.8)
    axes.plot([0], [0], marker="+", color="black", markersize=5)
    axes.grid(False)
    return shown


def _scale(margins: np.ndarray) -> TwoSlopeNorm:
    """Blue where the class is right, red where it is not, white at the boundary; one scale for a row."""
    reach = float(np.abs(margins).max()) or 1.0
    return TwoSlopeNorm(0.0, -reach, reach)


PLOT = Plot("The loss around an image, along the gradient and across it", {"masking": ("surface",)}, draw)
