"""Recheck: the claims of a saved `attack` record, tested again from its saved images.

Nothing is attacked. What the victim gives (images, labels, goals, starts, whether it is random) and what the data give
(the report) must be as saved; every final image is forwarded once more (over the same fresh draws, where the defence
is random) and held against what the record says of it. A service is not asked again: its draws would be other ones.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sims import records
from sims.attacks.attack import Threat
from sims.engine.run import trace_counts
from sims.experiments.attack.claims import Again, contradictions
from sims.experiments.attack.report import report
from sims.experiments.attack.setting import Config, Setting, evaluations, fresh_draws, randomized, setting
from sims.experiments.experiment import Context
from sims.measurements.best_response import with_radius
from sims.records import Record
from sims.victims.losses import margin_loss
from sims.victims.oracle import revealed_loss, score_oracle
from sims.victims.victim import VictimOptions

MEASURED = ("queries", "success", "status", "trace", "fooled", "adversarial", "variance", "gradient_norm")
SAID = ("clean", "start", "label", "goal", "randomized", "evaluations")
LOSS_ROUNDING = 1e-4  # of the largest score: about 800 units in the last place, for a network's sums in another order


def recheck(record: Record, context: Context) -> dict[str, Any]:
    """A report with a row per defence and attack: how many images contradict each claim; `ok` when none does.

    altered: what is not as the victim or the data give it; there are no rows where the images or goals are others.
    Raises ValueError for a record of another experiment or another version, or when data or weights are missing.
    """
    config = _config(record)
    shared = setting(config, context)
    if altered := list(_altered(record, config, shared)):
        return {"rows": [], "altered": altered, "ok": False}
    rows, altered = list(_rows(record, config, shared, context)), list(_derived(record, config, shared))
    claims = [value for row in rows for name, value in row.items() if name not in ("attack", "defense", "images")]
    return {"rows": rows, "altered": altered, "ok": not altered and not any(claims)}


def _config(record: Record) -> Config:
    """The configuration of the record, its attacks as they were run."""
    saved = record.manifest.get("config")
    if record.manifest.get("experiment") != "attack" or not isinstance(saved, dict) or "threat" not in saved:
        raise ValueError(f"record {record.folder} must be one of `python -m sims attack`, made by this version")
    if absent := [name for name in (*MEASURED, *SAID) if name not in record.data]:
        raise ValueError(f"record {record.folder} must have {', '.join(absent)}, made by this version")
    victim, threat = VictimOptions.saved(saved["victim"]), Threat(**saved["threat"])
    rest = {"defenses": tuple(saved["defenses"]), "attacks": _attacks(record), "victim": victim, "threat": threat}
    return Config(**(saved | rest))


def _attacks(record: Record) -> tuple[str, ...]:
    """The attacks that were asked for, and those at theory's radius."""
    asked, best = record.manifest["config"]["attacks"], record.manifest.get("best_response")
    added = [with_radius(text, best["smoothing_radius"]) for text in asked] if best else []
    return tuple(dict.fromkeys([*asked, *(text for text in added if text)]))


def _altered(record: Record, config: Config, shared: Setting) -> Iterator[str]:
    """What the record attacked, by the names of its variables, where that is not what its configuration gives."""
    victim = shared.victim
    given = {
        "defense": config.victims,
        "attack": config.attacks,
        "image": victim.ids,
        "count": trace_counts(config.threat.query_budget),
        "clean": victim.images,
        "start": shared.starts,
        "label": victim.labels,
        "goal": shared.goals,
    }
    return (name for name, value in given.items() if not np.array_equal(record.data[name].values, np.array(value)))


def _derived(record: Record, config: Config, shared: Setting) -> Iterator[str]:
    """What is said of the victims, and of the data in the report, where it does not follow from them."""
    for name, of in (("randomized", randomized), ("evaluations", evaluations)):
        if not np.array_equal(record.data[name].values, [of(config, shared.victim, one) for one in config.victims]):
            yield name
    if not records.report_follows(record, report):
        yield "report"


def _rows(record: Record, config: Config, shared: Setting, context: Context) -> Iterator[dict[str, Any]]:
    for i, defense in enumerate(config.victims):
        again = _again(config, shared, defense, record.data.adversarial.values[i])
        draws = evaluations(config, shared.victim, defense)
        for j, attack in enumerate(config.attacks):
            cell = record.data.isel(defense=i, attack=j)
            found = contradictions(attack, config.threat, config.stopping, draws, cell, again[j])
            yield {"attack": attack, "defense": defense, "images": cell.sizes["image"], **dict(found)}
        context.advance("rechecked defences", i + 1, len(config.victims))


def _again(config: Config, shared: Setting, defense: str, images: np.ndarray) -> list[Again]:
    """What the victim says of the final images (attacks, n, h, w, c) of every attack."""
    if defense == config.service:
        return [Again(None)] * len(images)
    each = zip(config.attacks, images, strict=True)
    fooled = [fresh_draws(config, shared, defense, attack, final) for attack, final in each]
    if randomized(config, shared.victim, defense):
        return [Again(one) for one in fooled]
    return [Again(*row) for row in zip(fooled, *_losses(config, shared, defense, images), strict=True)]


def _losses(config: Config, shared: Setting, defense: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(attacks, n) the loss that an attacker lowers at each image of a deterministic defence, and its rounding."""
    victim, keys = shared.victim, jax.random.split(jax.random.key(0), config.tile)
    oracle = score_oracle(victim.classifier, victim.defenses[defense])
    query, rows = jax.jit(oracle.query), images.reshape(-1, *images.shape[2:])
    goals = np.tile(shared.goals, len(images)).astype(np.int32)
    places = np.minimum(np.arange(-(-len(rows) // config.tile) * config.tile), len(rows) - 1).reshape(-1, config.tile)
    scores = np.concatenate([query(oracle.params, keys, rows[p], goals[p]).value for p in places])[: len(rows)]
    loss = revealed_loss(margin_loss, config.threat.targeted)(jnp.asarray(scores), jnp.asarray(goals))
    largest = np.nan_to_num(np.abs(scores).max(axis=1), posinf=0)
    return np.asarray(loss).reshape(images.shape[:2]), LOSS_ROUNDING * largest.reshape(images.shape[:2])
