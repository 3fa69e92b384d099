"""Robust accuracy against queries as the attack claims it, and beside it what fresh draws leave of its images."""

import math

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from figures.marks import attack_title, colour, spoken
from figures.plot import Plot, Records, victim
from sims.intervals import Z, share
from sims.records.store import Record

BESIDE = 1.35  # factor of queries from one point to the next, to the right of the budget


def draw(records: Records) -> Figure:
    """One panel per attack of the record `attack`, one curve per defence."""
    record = records["attack"]
    attacks = record.data["attack"].values
    rows = math.ceil(record.data.sizes["defense"] / len(attacks))
    figure = Figure(figsize=(1.2 + 1.95 * len(attacks), 2.9 + 0.15 * rows))
    figure.suptitle(f"{victim(record)}, {record.data.sizes['image']} images", fontsize=8.5)
    panels = figure.subplots(1, len(attacks), sharey=True, squeeze=False)[0]
    for axes, attack in zip(panels, attacks, strict=True):
        _panel(axes, record, str(attack))
    panels[0].set_ylabel("robust accuracy  (% of images)")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, symbol=None))
    panels[0].set_ylim(-0.02, 1.02)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(attacks),
        title="curves: claimed; points: left over fresh draws of the final images; 95 % intervals",
        title_fontsize=7,
    )
    return figure


def survivors(cell: xr.Dataset, budget: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Query counts from 1 to the budget, and how many images are not yet fooled after each.

    An image counts as fooled from its own `queries` on; one that resisted never does.
    """
    fooled_at = cell["queries"].values[cell["success"].values]
    counts = np.unique(np.concatenate([[1, budget], fooled_at]))
    return counts, cell.sizes["image"] - (fooled_at[None, :] <= counts[:, None]).sum(axis=1)


def shares(standing: Int[np.ndarray, " n"], images: int) -> tuple[Float[np.ndarray, " n"], ...]:
    """Share of the images standing, with the lower and upper ends of its 95 % interval."""
    return tuple(np.array([share(count, images) for count in standing]).T)


def fresh(cell: xr.Dataset) -> tuple[float, float]:
    """The share of fresh draws that the final images do not fool, and half of its 95 % interval over the images."""
    left = 1 - cell["fooled"].values / cell["evaluations"].item()
    return float(left.mean()), float(Z * left.std() / math.sqrt(len(left)))


def _panel(axes: Axes, record: Record, attack: str) -> None:
    budget = record.manifest["config"]["threat"]["query_budget"]
    cells = record.data.sel(attack=attack)
    for i, defense in enumerate(cells["defense"].values):
        cell = cells.isel(defense=i)
        kind = "randomised" if cell["randomized"].item() else "deterministic"
        claim_and_draws(axes, cell, budget, i, colour(i), f"{spoken(defense)} ({kind})")
    until_budget(axes, budget, cells.sizes["defense"])
    axes.set(xlabel=f"queries  (rows; budget {budget})", title=attack_title(attack))


def claim_and_draws(axes: Axes, cell: xr.Dataset, budget: int, place: int, paint: str, label: str) -> None:
    """One model under one attack: its claim as a curve, and what fresh draws leave as a point right of the budget.

    place: of the point among those of the panel, from 0.
    """
    counts, standing = survivors(cell, budget)
    value, low, high = shares(standing, cell.sizes["image"])
    axes.step(counts, value, where="post", color=paint, label=label)
    axes.fill_between(counts, low, high, step="post", color=paint, alpha=0.2, linewidth=0)
    left, width = fresh(cell)
    axes.errorbar(budget * BESIDE ** (place + 1), left, yerr=width, color=paint, marker="o", elinewidth=0.8)


def until_budget(axes: Axes, budget: int, models: int) -> None:
    """Queries on a logarithmic axis up to the budget, and room beside it for the points of so many models."""
    axes.axvline(budget, color="0.8", linewidth=0.8, zorder=0)
    axes.set(
        xscale="log",
        xlim=(1, budget * BESIDE ** (models + 1)),
        xticks=10 ** np.arange(int(math.log10(budget)) + 1),
    )
    axes.minorticks_off()


PLOT = Plot(
    "Robust accuracy against queries",
    {"attack": ("queries", "success", "randomized", "fooled", "evaluations")},
    draw,
)
