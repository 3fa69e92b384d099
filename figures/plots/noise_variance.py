"""V of the Gaussian-noise defence against σ, beside its small-noise limit σ²‖∇f‖²."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.marks import key_point, measured
from figures.plot import Plot, Records, victim
from sims.intervals import Z, mean_and_half_width
from sims.records.store import Record

TOLERANCE = 0.05


def draw(records: Records) -> Figure:
    """V itself, and V over its limit, of the record `diversity` with noise."""
    record = records["diversity"]
    figure = Figure(figsize=(7, 2.9))
    figure.suptitle(f"Gaussian noise before {victim(record)}, {record.data.sizes['image']} images", fontsize=8.5)
    left, right = figure.subplots(1, 2)
    _variance(left, record)
    _ratio(right, record)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="noise level σ  (pixel units)")
    return figure


def ratio_to_limit(record: Record) -> tuple[Float[np.ndarray, " levels"], Float[np.ndarray, " levels"]]:
    """Σ V / Σ σ²‖∇f‖² over the images at every level, and its standard error over the draws."""
    data, total = record.data, record.data["noise_limit"].sum("image").values
    error = np.sqrt((data["noise_variance_standard_error"] ** 2).sum("image").values)
    return data["noise_variance"].sum("image").values / total, error / total


def _variance(axes: Axes, record: Record) -> None:
    levels = record.data["noise_level"].values
    axes.plot(levels, record.data["noise_limit"].mean("image"), color="C0", label="limit σ²‖∇f‖²")
    measured(
        axes, levels, *mean_and_half_width(record.data["noise_variance"], "image"), 0, "measured, 95 % over images"
    )
    axes.set(yscale="log", ylabel="V  (logit units²)", title="loss-level variance")
    axes.legend()


def _ratio(axes: Axes, record: Record) -> None:
    ratio, error = ratio_to_limit(record)
    levels = record.data["noise_level"].values
    axes.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color="C0", alpha=0.15, linewidth=0, label="within 5 % of the limit")
    measured(axes, levels, ratio, Z * error, 0)
    for image in range(record.data.sizes["image"]):
        each = record.data.isel(image=image)
        axes.plot(levels, each["noise_variance"] / each["noise_limit"], color="0.6", linewidth=0.6, zorder=1)
    handles = [*axes.get_legend_handles_labels()[0], key_point("all images, 95 % over draws", paint="C0")]
    axes.set(ylabel="V / (σ²‖∇f‖²)", title="beside the limit; grey: single images")
    axes.legend(handles=handles)


PLOT = Plot(
    "V of the Gaussian-noise defence beside its small-noise limit",
    {"diversity": ("noise_variance", "noise_variance_standard_error", "noise_limit")},
    draw,
)
