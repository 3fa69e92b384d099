"""The table of a comparison: who leaves what, what it cost, and whether the batch mattered."""

from typing import Any

import numpy as np
import xarray as xr

from sims.intervals import Interval, difference_of_shares, ratio_of_medians
from sims.peers.peer import Peer
from sims.peers.table import find_peer

WORST_RATIO = 1.1  # of the median distances, ours over theirs


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """Lists of a row per pair: quality with its verdict, costs, times, what the batch does to the peer, its faults."""
    seed = manifest["config"]["seed"]
    cells = [(find_peer(str(name)), data.sel(pair=name)) for name in data.pair.values]
    rows = [quality_row(peer, cell, seed) for peer, cell in cells]
    return {
        "rows": rows,
        "costs": [_cost_row(peer, cell) for peer, cell in cells],
        "times": [_time_row(peer, cell) for peer, cell in cells],
        "batches": [_batch_row(peer, cell, seed) for peer, cell in cells if peer.batches],
        "notes": [{"pair": peer.name, "note": peer.note} for peer, _ in cells],
        "failures": [_failure_row(peer, cell) for peer, cell in cells if cell.failed > 0],
        "ok": all(row["ok"] for row in rows),
    }


def quality_row(peer: Peer, cell: xr.Dataset, seed: int) -> dict[str, Any]:
    """Both sides' measure, how they differ with a paired 95 % interval, and whether ours is good enough.

    Robust accuracy: the difference's interval must reach down to 0. Median distance: the ratio must be <= WORST_RATIO.
    """
    ours, theirs = cell.distance.values
    measure, values, gap = _compared(peer, ours, theirs, seed)
    ok = gap.value <= WORST_RATIO if peer.goal == "closest" else gap.low <= 0
    return {
        "pair": peer.name,
        "measure": measure,
        "ours": _finite(values[0]),
        "theirs": _finite(values[1]),
        "compared": "ratio" if peer.goal == "closest" else "difference",
        "value": _finite(gap.value),
        "interval": [_finite(gap.low), _finite(gap.high)],
        "ok": bool(ok),
    }


def _compared(peer: Peer, ours: np.ndarray, theirs: np.ndarray, seed: int) -> tuple[str, tuple[float, float], Interval]:
    if peer.goal == "closest":
        medians = float(np.median(ours)), float(np.median(theirs))
        return f"median {peer.norm} distance", medians, ratio_of_medians(ours, theirs, seed)
    robust = np.isinf(ours), np.isinf(theirs)
    shares = float(robust[0].mean()), float(robust[1].mean())
    return "robust accuracy", shares, difference_of_shares(*robust, seed)


def _cost_row(peer: Peer, cell: xr.Dataset) -> dict[str, Any]:
    """Means per image: queries up to success or the budget, what the peer counted, rows forwarded."""
    count = cell.sizes["image"]
    ours, theirs = (cell.isel(side=i) for i in range(2))
    return {
        "pair": peer.name,
        "queries_ours": float(ours.queries.mean()),
        "queries_theirs": float(theirs.queries.mean()),
        "counted_by_theirs": _finite(float(cell.counted) / count),
        "forwarded_ours": float(ours.forwarded) / count,
        "forwarded_theirs": float(theirs.forwarded) / count,
        "outside_the_box": float(cell.outside) / count,
    }


def _time_row(peer: Peer, cell: xr.Dataset) -> dict[str, Any]:
    """Seconds of all images: wall time and processor time (of all cores), and what the peer spends in the network."""
    ours, theirs = (cell.isel(side=i) for i in range(2))
    return {
        "pair": peer.name,
        "wall_ours": float(ours.seconds),
        "wall_theirs": float(theirs.seconds),
        "of_these_in_the_network": float(cell.seconds_in_the_network),
        "processor_ours": float(ours.processor_seconds),
        "processor_theirs": float(theirs.processor_seconds),
    }


def _batch_row(peer: Peer, cell: xr.Dataset, seed: int) -> dict[str, Any]:
    """The peer on the same images alone and together; the gap is together against alone."""
    alone, together = cell.batch_distance.values
    measure, values, gap = _compared(peer, together, alone, seed)
    neutral = 1 if peer.goal == "closest" else 0
    return {
        "pair": peer.name,
        "measure": measure,
        "images": len(alone),
        "theirs_alone": _finite(values[1]),
        "theirs_together": _finite(values[0]),
        "gap": _finite(gap.value),
        "interval": [_finite(gap.low), _finite(gap.high)],
        "batch_matters": not gap.low <= neutral <= gap.high,
        "ours_identical": float(cell.ours_identical),
    }


def _failure_row(peer: Peer, cell: xr.Dataset) -> dict[str, Any]:
    return {"pair": peer.name, "images": int(cell.failed), "message": str(cell.failure.values)[:300]}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
