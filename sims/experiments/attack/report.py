"""The report of the experiment `attack`: what each attack claims, what fresh draws say, and the slow-down."""

from typing import Any

import numpy as np
import xarray as xr

from sims.attacks.table import read_attack
from sims.engine.state import NON_FINITE
from sims.intervals import share
from sims.measurements.slow_down import measured_slow_down, predicted_slow_down, restricted_queries

COLUMNS = (
    "attack",
    "defense",
    "V",
    "robust_accuracy",
    "robust_average_of_n",
    "robust_worst_of_n",
    "mean_queries",
    "median_distance",
    "slow_down",
    "slow_down_interval",
    "slow_down_predicted",
)


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per defence and attack: the cost of an answer, robust accuracy claimed and over fresh draws, slow-down."""
    config = manifest["config"]
    threat, seed = config["threat"], config["seed"]
    chains = len(config["defenses"])
    rows = [
        _row(data.isel(defense=i).sel(attack=attack), data.isel(defense=j).sel(attack=attack), threat, seed)
        for attack in data.attack.values
        for i in range(data.sizes["defense"])
        for j in [_reference(i, chains, len(config["victim"]["model"]))]
    ]
    best = {"best_response": manifest["best_response"]} if "best_response" in manifest else {}
    epsilon = threat["epsilon"] if np.isfinite(threat["epsilon"]) else "none"
    return {"rows": rows, **threat, "epsilon": epsilon, "stopping": config["stopping"], **best}


def _reference(place: int, chains: int, models: int) -> int:
    """The place of the model's own first defence; a service, which comes last, is held against the first of all."""
    return place // chains * chains if place < chains * models else 0


def _row(cell: xr.Dataset, reference: xr.Dataset, threat: dict[str, Any], seed: int) -> dict[str, Any]:
    budget, images = threat["query_budget"], cell.sizes["image"]
    queries = [restricted_queries(one.queries.values, one.success.values, budget) for one in (reference, cell)]
    slow = measured_slow_down(queries[0], queries[1], seed)
    robust = share(int((~cell.success).sum()), images)
    fooled, variance = cell.fooled.values / cell.evaluations.item(), cell.variance.values
    distances = cell.distance.values[cell.success.values]
    known = np.isfinite(variance).all()  # a model on the host does not show it
    return {
        "attack": str(cell.attack.item()),
        "defense": str(cell.defense.item()),
        "V": float(variance.mean()) if known else None,
        "V_standard_error": float(variance.std() / np.sqrt(images)) if known else None,
        "robust_accuracy": robust.value,
        "interval": [robust.low, robust.high],
        "robust_average_of_n": float(1 - fooled.mean()),
        "robust_average_standard_error": float(fooled.std() / np.sqrt(images)),
        "robust_worst_of_n": float((fooled == 0).mean()),
        "evaluations": cell.evaluations.item(),
        "passes": cell.passes.item(),
        "mean_queries": float(queries[1].mean()),
        "median_distance": float(np.median(distances)) if len(distances) else None,
        "slow_down": slow.value,
        "slow_down_interval": [slow.low, slow.high],
        "slow_down_predicted": _predicted(cell, reference, queries[0], budget),
        "non_finite": int((cell.status == NON_FINITE).sum()),
    }


def _predicted(cell: xr.Dataset, reference: xr.Dataset, queries: np.ndarray, budget: int) -> float | None:
    """The slow-down that theory predicts, where it has a prediction: for NES, on models that have a gradient."""
    choice, pair = read_attack(str(cell.attack.item())), (reference, cell)
    if choice.name != "nes" or not all(np.isfinite([one.variance, one.gradient_norm]).all() for one in pair):
        return None
    return predicted_slow_down(
        queries,
        budget,
        (reference.gradient_norm.values, cell.gradient_norm.values),
        tuple(one.variance.values / choice.shared.average for one in pair),
        cell.shown_clean[0].size,
        choice.settings.smoothing_radius,
        choice.settings.num_directions,
    )
