"""Robust accuracy against queries for a table of many defences: a row of panels per family, a column per attack."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from figures.marks import attack_title, colour, spoken
from figures.plot import Plot, Records, victim
from figures.plots.robust_accuracy import claim_and_draws, until_budget

FAMILIES = {
    "noise and filters": (
        "gaussian-noise",
        "feature-noise",
        "median-filter",
        "mean-filter",
        "jpeg",
        "quantizer",
        "random-quantizer",
        "resize-pad",
    ),
    "shaped scores": ("aaa", "dld", "random-scale"),
}
PURIFIERS = "purifiers"  # every other defence
MARKS = "curves: claimed, points: left over fresh draws, 95 % intervals"
ALONE = "none"  # is in every row


def draw(records: Records) -> Figure:
    """The record `attack`: claims as curves, and beside the budget what fresh draws leave, with 95 % intervals."""
    record = records["attack"]
    attacks, families = record.data["attack"].values, families_of(list(map(str, record.data["defense"].values)))
    report, images = record.manifest["report"], record.data.sizes["image"]
    figure = Figure(figsize=(7, 0.9 + 1.8 * len(families)))
    radius = report["epsilon"] if isinstance(report["epsilon"], str) else f"{report['epsilon']:.3g}"
    figure.suptitle(f"{victim(record)}, {images} images, {report['norm']} radius {radius}; {MARKS}", fontsize=8.5)
    panels = figure.subplots(len(families), len(attacks), sharex=True, sharey=True, squeeze=False)
    for row, (family, names) in zip(panels, families.items(), strict=True):
        for axes, attack in zip(row, attacks, strict=True):
            _panel(axes, record.data.sel(attack=attack), names, report["query_budget"])
        row[0].set_ylabel(f"{family}\nrobust accuracy (%)")
        row[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=6.5)
    for axes, attack in zip(panels[0], attacks, strict=True):
        axes.set_title(attack_title(str(attack)))
    for axes in panels[-1]:
        axes.set_xlabel("queries")
    panels[0][0].yaxis.set_major_formatter(PercentFormatter(1, symbol=None))
    panels[0][0].set_ylim(-0.02, 1.02)
    return figure


def families_of(names: list[str]) -> dict[str, list[str]]:
    """The defences by family, each family beginning with the network alone; families without a defence are left out."""
    of = {
        name: next((family for family, kinds in FAMILIES.items() if _kind(name) in kinds), PURIFIERS) for name in names
    }
    found = {
        family: [name for name in names if of[name] == family and name != ALONE] for family in (*FAMILIES, PURIFIERS)
    }
    alone = [ALONE] if ALONE in names else []
    return {family: [*alone, *members] for family, members in found.items() if members}


def _kind(name: str) -> str:
    """The defence's name without its settings, and without the model's where there are several."""
    return name.split(", ")[-1].partition(":")[0]


def _panel(axes: Axes, cells: xr.Dataset, names: list[str], budget: int) -> None:
    for i, name in enumerate(names):
        paint = "black" if name == ALONE else colour(i)
        claim_and_draws(axes, cells.sel(defense=name), budget, i, paint, spoken(name))
    until_budget(axes, budget, len(names))


PLOT = Plot(
    "Robust accuracy against queries, for a table of defences by family",
    {"attack": ("queries", "success", "fooled", "evaluations")},
    draw,
)
