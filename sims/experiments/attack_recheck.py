"""Recheck: the claims of a saved `attack` record, tested again from its saved images.

Nothing is attacked: every final image is forwarded once more (over the same fresh draws, where the defence is random)
and held against the ball, the box, the budget and what the record says of it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, parse_attack
from sims.experiments.attack_setting import Config, Setting, fresh_draws, setting
from sims.experiments.experiment import Context
from sims.records import Record
from sims.slots import STATUS
from sims.victims import VictimOptions

ROUNDING = 1e-5  # of a distance in float32


def recheck(record: Record, context: Context) -> dict[str, Any]:
    """A report with a row per defence and attack: how many images contradict each claim; `ok` when none does.

    Raises ValueError for a record of another experiment or another version, or when data or weights are missing.
    """
    config = _config(record)
    data, shared = record.data, setting(config, context)
    same = np.array_equal(data.clean.values, shared.victim.images) and np.array_equal(data.goal.values, shared.goals)
    rows = []
    for i, defense in enumerate(config.victims):
        for j, attack in enumerate(config.attacks):
            cell = data.isel(defense=i, attack=j)
            found = dict(_contradictions(config, shared, cell, defense, attack))
            rows.append({"attack": attack, "defense": defense, "images": cell.sizes["image"], **found})
        context.advance("rechecked defences", i + 1, len(config.victims))
    claims = [value for row in rows for name, value in row.items() if name not in ("attack", "defense", "images")]
    return {"rows": rows, "same_images_and_goals": same, "ok": bool(same and not any(claims))}


def _config(record: Record) -> Config:
    """The configuration of the record, its attacks as they were run."""
    saved = record.manifest.get("config")
    if record.manifest.get("experiment") != "attack" or not isinstance(saved, dict) or "threat" not in saved:
        raise ValueError(f"record {record.folder} must be one of `python -m sims attack`, made by this version")
    victim, threat = VictimOptions(**saved["victim"]), Threat(**saved["threat"])
    attacks = tuple(str(name) for name in record.data.attack.values)
    rest = {"defenses": tuple(saved["defenses"]), "attacks": attacks, "victim": victim, "threat": threat}
    return Config(**(saved | rest))


def _contradictions(
    config: Config, shared: Setting, cell: xr.Dataset, defense: str, attack: str
) -> Iterator[tuple[str, int | None]]:
    """(claim, images that contradict it); None where a claim cannot be tested, the defence being random."""
    images, threat = cell.adversarial.values, config.threat
    moved = (images - cell.clean.values).reshape(len(images), -1)
    length = np.linalg.norm(moved, ord=np.inf if threat.norm == "linf" else 2, axis=1)
    success, queries = cell.success.values, cell.queries.values
    inside = ((images >= 0) & (images <= 1)).reshape(len(images), -1).all(axis=1)
    fooled = cell.status.values == STATUS.index("fooled")
    again = fresh_draws(config, shared, defense, images)
    fixed = not cell.randomized.item() and parse_attack(attack).average == 1
    yield "outside_the_box", int((~inside).sum())
    yield "outside_the_ball", int((length > threat.epsilon * (1 + ROUNDING)).sum())
    yield "over_the_budget", int((queries > threat.query_budget).sum())
    yield "status_not_success", int((fooled != success).sum())
    yield "trace_not_as_claimed", int(_trace_contradicts(cell, build_attack(attack, threat).minimizes, length).sum())
    yield "fresh_draws_not_as_saved", int((again != cell.fooled.values).sum())
    yield "success_not_confirmed", int((success != (again > 0)).sum()) if fixed else None


def _trace_contradicts(cell: xr.Dataset, minimizes: bool, length: np.ndarray) -> np.ndarray:
    """(n,) bool: a distance that rises with the queries, or ends elsewhere than at the saved image."""
    trace = cell.trace.values
    if not minimizes:
        return np.isnan(trace).any(axis=1)
    found = np.isfinite(trace[:, -1])
    rises = (np.diff(np.where(np.isfinite(trace), trace, np.finfo(np.float32).max), axis=1) > 0).any(axis=1)
    ends = found & ~np.isclose(trace[:, -1], length, rtol=1e-3, atol=1e-6)
    return rises | ends
