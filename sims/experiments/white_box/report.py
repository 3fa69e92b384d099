"""The report of the experiment `white-box`: average, worst of N and majority vote of every defence and attack."""

from typing import Any

import numpy as np
import xarray as xr

from sims.intervals import share
from sims.measurements.fresh_draws import outvoted, times_right

COLUMNS = (
    "attack",
    "defense",
    "robust_average_of_n",
    "standard_error",
    "robust_worst_of_n",
    "robust_majority",
    "clean_average_of_n",
    "mean_rows",
    "non_finite",
)


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per attack and defence; `strongest` names, for every defence, the attack with the lowest average.

    The least of several averages over the same draws is a little too low: read it beside their standard errors.
    """
    config = manifest["config"]
    rows = [
        row(data.isel(defense=i, attack=j), data.label.values)
        for j in range(data.sizes["attack"])
        for i in range(data.sizes["defense"])
    ]
    strongest = [
        min((row for row in rows if row["defense"] == name), key=lambda row: row["robust_average_of_n"])
        for name in data.defense.values
    ]
    best = [{key: row[key] for key in ("defense", "attack", "robust_average_of_n")} for row in strongest]
    return {"rows": rows, "strongest": best, "norm": config["norm"], "epsilon": config["epsilon"]}


def row(cell: xr.Dataset, labels: np.ndarray) -> dict[str, Any]:
    """One attack on one defence."""
    draws, images = cell.evaluations.item(), len(labels)
    right = times_right(labels, cell.predicted.values) / draws
    clean = times_right(labels, cell.predicted_clean.values) / draws
    majority = share(int((~outvoted(labels, cell.predicted.values)).sum()), images)
    return {
        "attack": str(cell.attack.item()),
        "defense": str(cell.defense.item()),
        "robust_average_of_n": float(right.mean()),
        "standard_error": float(right.std() / np.sqrt(images)),
        "robust_worst_of_n": float((right == 1).mean()),
        "robust_majority": majority.value,
        "majority_interval": [majority.low, majority.high],
        "evaluations": draws,
        "clean_average_of_n": float(clean.mean()),
        "clean_majority": float((~outvoted(labels, cell.predicted_clean.values)).mean()),
        "mean_rows": float(cell.queries.values.mean()),
        "non_finite": int(cell.non_finite.sum()),
        "largest_distance": float(cell.distance.max()),
    }
