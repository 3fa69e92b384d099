"""E‖ĝ‖² against the smoothing radius μ: the closed form E3 as lines, measured estimates as points."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.marks import key_line, key_point, measured, predicted, spoken
from figures.plot import Plot, Records, again, victim
from sims.intervals import Z
from sims.records.store import Record
from theory.averaging import predicted_second_moment

FINE = 200
LINE, MOST = 0.08, 0.6
"""Share of the axis that one line of the legend takes, above the data, and all of them at most."""
PANELS = {
    "quadratic": ("μ (units of x)", "E3, exact"),
    "network": ("μ (pixel units)", "E3 of the linearised loss"),
}


def draw(records: Records) -> Figure:
    """One panel per instance of the record `moments`; ValueError for one without a panel."""
    record = records["moments"]
    instances = _instances(record)
    figure = Figure(figsize=(3.5 * len(instances), 2.8))
    for axes, instance in zip(figure.subplots(1, len(instances), squeeze=False)[0], instances, strict=True):
        _panel(axes, record, instance)
    return figure


def _instances(record: Record) -> list[str]:
    """The instances of the record in the order of their panels."""
    there = {str(name) for name in record.data["instance"].values}
    if unknown := sorted(there - set(PANELS)):
        raise ValueError(
            f"instance must be one of {', '.join(PANELS)}, got {', '.join(unknown)} in record {record.folder}; "
            f"run {again(record)}"
        )
    return [name for name in PANELS if name in there]


def predicted_curve(record: Record, curve: int) -> tuple[np.ndarray, np.ndarray]:
    """Radii and predicted E‖ĝ‖²: finely for antithetic Gaussian estimates, else at the record's own."""
    data, config = record.data.isel(curve=curve), record.manifest["config"]
    radii = data["smoothing_radius"].values
    if (config["estimator"], config["directions"]) != ("antithetic", "gaussian"):
        return radii, data["predicted_second_moment"].values
    fine = np.geomspace(radii.min(), radii.max(), FINE)
    return fine, np.array([_antithetic(data, config["num_directions"], radius) for radius in fine])


def _antithetic(data: xr.Dataset, num_directions: int, radius: float) -> float:
    d, length, variance = (data[name].item() for name in ("dimension", "gradient_norm", "variance"))
    return predicted_second_moment("E3-antithetic", d, length, variance, radius, num_directions)


def _panel(axes: Axes, record: Record, instance: str) -> None:
    radius_label, law = PANELS[instance]
    curves = np.flatnonzero(record.data["instance"].values == instance)
    for index, curve in enumerate(curves):
        data = record.data.isel(curve=curve)
        label = f"{spoken(data['case'].item())}  (V = {data['variance'].item():.3g})"
        half_width = Z * data["second_moment_standard_error"]
        measured(axes, data["smoothing_radius"], data["second_moment"], half_width, index, label)
        predicted(axes, *predicted_curve(record, int(curve)), index)
    axes.set(xscale="log", yscale="log", xlabel=f"smoothing radius {radius_label}")
    axes.set_ylabel(r"$\mathrm{E}\,\|\hat g\|^2$  (loss² per " + ("x²)" if instance == "quadratic" else "pixel unit²)"))
    name = victim(record) if instance == "network" else instance
    axes.set_title(f"{name}, d = {record.data['dimension'].values[curves[0]]}")
    handles = [*axes.get_legend_handles_labels()[0], key_line(law), key_point("measured, 95 % interval")]
    taken = min(LINE * len(handles), MOST)
    low, high = axes.get_ylim()
    axes.set_ylim(top=high * (high / low) ** (taken / (1 - taken)))
    axes.legend(loc="upper right", handles=handles)


PLOT = Plot(
    "Second moment of a gradient estimate against the smoothing radius",
    {
        "moments": (
            "second_moment",
            "second_moment_standard_error",
            "predicted_second_moment",
            "variance",
            "gradient_norm",
            "dimension",
            "instance",
            "case",
        )
    },
    draw,
)
