"""Recheck of a saved `white-box` record: its final images held against the victim once more, and its report.

Nothing is attacked. The draws that judge the images are those of the record, so on one machine every prediction must be
as saved; on another a draw at the edge of a class may differ.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from defenses.model import Model
from defenses.options.names import Choice
from defenses.purifiers.table import defense_choices
from sims.attacks.ball import lengths
from sims.experiments.cells.cell import cell_of
from sims.experiments.cells.hashes import pictures_hash
from sims.experiments.experiment import Context, saved_settings
from sims.experiments.white_box.cell import draws_of, judged
from sims.experiments.white_box.report import report
from sims.experiments.white_box.setting import Config
from sims.records import store
from sims.records.store import Record, pixels_of
from sims.victims.victim import Victim, VictimOptions, load_victim
from sims.white_box.restarts import AttackPlan, most_rows, runs_of
from sims.white_box.table import is_white_box, white_box_choices

BALL_ROUNDING = 1e-5  # of the radius, in float32
MEASURED = ("predicted", "predicted_clean", "queries", "non_finite", "distance", "label", "evaluations", "randomized")


def recheck(record: Record, context: Context) -> dict[str, Any]:
    """A report with a row per defence and attack: how many images contradict each claim; `ok` when none does."""
    config = _config(record)
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    if altered := list(_altered(record, config, victim)):
        return {"rows": [], "altered": altered, "ok": False}
    rows = list(_rows(record, config, victim))
    altered = [] if store.report_follows(record, report) else ["report"]
    altered += [] if record.manifest.get("queries") == int(record.data.queries.sum()) else ["queries"]
    claims = [value for row in rows for name, value in row.items() if name not in ("attack", "defense", "images")]
    return {"rows": rows, "altered": altered, "ok": not altered and not any(claims)}


def _config(record: Record) -> Config:
    saved = saved_settings(record, "white-box", Config())
    if absent := [name for name in MEASURED if name not in record.data]:
        raise ValueError(f"record {record.folder} must have {', '.join(absent)}, made by this version")
    read: dict[str, Any] = {
        "defenses": defense_choices(*saved["defenses"]),
        "attacks": white_box_choices(*saved["attacks"]),
        "victim": VictimOptions.saved(saved["victim"]),
    }
    return Config(**(saved | read))


def _altered(record: Record, config: Config, victim: Victim) -> Iterator[str]:
    given = {
        "defense": list(victim.models),
        "attack": list(map(str, config.attacks)),
        "image": victim.ids,
        "label": victim.labels,
        "evaluations": [draws_of(config, model) for model in victim.models.values()],
        "randomized": [model.randomized for model in victim.models.values()],
    }
    yield from (name for name, value in given.items() if not np.array_equal(record.data[name].values, np.array(value)))
    if record.manifest.get("pictures") != pictures_hash(victim):
        yield "pictures"


def _rows(record: Record, config: Config, victim: Victim) -> Iterator[dict[str, Any]]:
    before = victim.images
    for i, (defense, model) in enumerate(victim.models.items()):
        clean = judged(config, model, before)
        for j, attack in enumerate(config.attacks):
            told = record.data.isel(defense=i, attack=j)
            images = pixels_of(cell_of(record, f"{attack} on {defense}"), "adversarial")
            found = _contradictions(told, config, images, before, judged(config, model, images), clean)
            found["queries_not_possible"] = _not_possible(told, attack, config, model)
            yield {"attack": str(attack), "defense": defense, "images": len(images), **found}


def _contradictions(
    told: xr.Dataset, config: Config, images: np.ndarray, before: np.ndarray, again: np.ndarray, clean: np.ndarray
) -> dict[str, int]:
    distance = lengths(config.norm, images.astype(np.float64) - before)
    axes = tuple(range(1, images.ndim))
    return {
        "outside_the_box": int((~((images >= 0) & (images <= 1)).all(axis=axes)).sum()),
        "outside_the_ball": int((distance > config.epsilon * (1 + BALL_ROUNDING)).sum()),
        "distance_not_as_claimed": int((~np.isclose(distance, told.distance.values, rtol=1e-6)).sum()),
        "predictions_not_as_claimed": int((again != told.predicted.values).any(axis=1).sum()),
        "clean_predictions_not_as_claimed": int((clean != told.predicted_clean.values).any(axis=1).sum()),
    }


def _not_possible(told: xr.Dataset, attack: Choice, config: Config, model: Model) -> int:
    """Images with another number of rows than the attack can have asked for, or, of a random defence, has to."""
    runs = runs_of(attack, model.num_classes)
    most = sum(most_rows(run, AttackPlan(config.threat), model) for run in runs)
    exact = model.randomized and all(is_white_box(run.choice) for run in runs)
    queries, stopped = told.queries.values, told.non_finite.values
    wrong = (queries != most) & ~stopped if exact else (queries < 1) | (queries > most)
    return int(wrong.sum())
