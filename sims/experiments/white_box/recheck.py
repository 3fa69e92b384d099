"""Recheck of a saved `white-box` record: its final images held against the victim once more, and its report.

Nothing is attacked. The draws that judge the images are those of the record, so on one machine every prediction must be
as saved; on another a draw at the edge of a class may differ.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from defenses.model import Model
from defenses.options.names import Choice
from defenses.purifiers.table import defense_choices
from sims.attacks.ball import lengths
from sims.experiments.experiment import Context, saved_settings
from sims.records import store
from sims.records.store import Record
from sims.victims.victim import Victim, VictimOptions, load_victim
from sims.white_box.restarts import AttackPlan, most_rows, runs_of
from sims.white_box.table import is_white_box, white_box_choices

BALL_ROUNDING = 1e-5  # of the radius, in float32
MEASURED = (
    "predicted",
    "predicted_clean",
    "queries",
    "non_finite",
    "distance",
    "adversarial",
    "clean",
    "label",
    "evaluations",
    "randomized",
)

Judge = Callable[[Any, Victim, str, np.ndarray, int], np.ndarray]


def rechecker(experiment: str, config_type: Any, judged: Judge, report: Any):
    """The recheck of the experiment with that configuration, judge of images, and report."""

    def recheck(record: Record, context: Context) -> dict[str, Any]:
        """A report with a row per defence and attack: how many images contradict each claim; `ok` when none does."""
        config = _config(record, experiment, config_type)
        victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
        if altered := list(_altered(record, config, victim)):
            return {"rows": [], "altered": altered, "ok": False}
        rows = list(_rows(record, config, victim, judged))
        altered = [] if store.report_follows(record, report) else ["report"]
        altered += [] if record.manifest.get("queries") == int(record.data.queries.sum()) else ["queries"]
        claims = [value for row in rows for name, value in row.items() if name not in ("attack", "defense", "images")]
        return {"rows": rows, "altered": altered, "ok": not altered and not any(claims)}

    return recheck


def _config(record: Record, experiment: str, config_type: Any) -> Any:
    saved = saved_settings(record, experiment, config_type())
    if absent := [name for name in MEASURED if name not in record.data]:
        raise ValueError(f"record {record.folder} must have {', '.join(absent)}, made by this version")
    lists = {"defenses": defense_choices(*saved["defenses"]), "attacks": white_box_choices(*saved["attacks"])}
    return config_type(**(saved | lists | {"victim": VictimOptions.saved(saved["victim"])}))


def _altered(record: Record, config: Any, victim: Victim) -> Iterator[str]:
    given = {
        "defense": list(victim.models),
        "attack": list(map(str, config.attacks)),
        "image": victim.ids,
        "clean": victim.images,
        "label": victim.labels,
        "evaluations": [config.evaluations if one.randomized else 1 for one in victim.models.values()],
        "randomized": [one.randomized for one in victim.models.values()],
    }
    return (name for name, value in given.items() if not np.array_equal(record.data[name].values, np.array(value)))


def _rows(record: Record, config: Any, victim: Victim, judged: Judge) -> Iterator[dict[str, Any]]:
    for i, (defense, model) in enumerate(victim.models.items()):
        draws = int(record.data.evaluations.values[i])
        clean = judged(config, victim, defense, victim.images, draws)
        for j, attack in enumerate(config.attacks):
            cell = record.data.isel(defense=i, attack=j)
            again = judged(config, victim, defense, cell.adversarial.values, draws)
            found = _contradictions(cell, config, again, clean)
            found["queries_not_possible"] = _not_possible(cell, attack, config, model)
            yield {"attack": str(attack), "defense": defense, "images": len(victim.images), **found}


def _contradictions(cell: xr.Dataset, config: Any, again: np.ndarray, clean: np.ndarray) -> dict[str, int]:
    images = cell.adversarial.values
    distance = lengths(config.norm, images.astype(np.float64) - cell.clean.values)
    axes = tuple(range(1, images.ndim))
    return {
        "outside_the_box": int((~((images >= 0) & (images <= 1)).all(axis=axes)).sum()),
        "outside_the_ball": int((distance > config.epsilon * (1 + BALL_ROUNDING)).sum()),
        "distance_not_as_claimed": int((~np.isclose(distance, cell.distance.values, rtol=1e-6)).sum()),
        "predictions_not_as_claimed": int((again != cell.predicted.values).any(axis=1).sum()),
        "clean_predictions_not_as_claimed": int((clean != cell.predicted_clean.values).any(axis=1).sum()),
    }


def _not_possible(cell: xr.Dataset, attack: Choice, config: Any, model: Model) -> int:
    """Images with another number of rows than the attack can have asked for, or, of a random defence, has to."""
    runs = runs_of(attack, model.num_classes)
    most = sum(most_rows(run, AttackPlan(config.threat), model) for run in runs)
    exact = model.randomized and all(is_white_box(run.choice) for run in runs)
    queries, stopped = cell.queries.values, cell.non_finite.values
    wrong = (queries != most) & ~stopped if exact else (queries < 1) | (queries > most)
    return int(wrong.sum())
