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
import xarray as xr

from defenses.model import Model
from defenses.options.names import Choice
from defenses.purifiers.table import defense_choices
from sims.attacks.attack import Threat
from sims.attacks.table import attack_choices
from sims.engine.run import trace_counts
from sims.engine.stopping import stopping_rule
from sims.experiments.attack.cell import fresh_draws, parts_of_cell, tile_of
from sims.experiments.attack.claims import Again, contradictions, found_of
from sims.experiments.attack.report import report
from sims.experiments.attack.setting import Config, Setting, setting
from sims.experiments.cells.cell import cell_of
from sims.experiments.experiment import Context, saved_settings
from sims.measurements.best_response import with_radius
from sims.records import store
from sims.records.store import Record, pixels_of
from sims.victims.losses import margin_loss
from sims.victims.oracle import revealed_loss
from sims.victims.victim import VictimOptions

MEASURED = ("queries", "success", "status", "trace", "fooled", "distance", "variance", "gradient_norm")
SAID = ("start", "label", "goal", "randomized", "evaluations", "passes", "shown", "shown_clean")
Cells = dict[tuple[str, Choice], Record]  # by the model's name and the attack
LOSS_ROUNDING = 1e-4  # of the largest score: about 800 units in the last place, for a network's sums in another order


def recheck(record: Record, context: Context) -> dict[str, Any]:
    """A report with a row per defence and attack: how many images contradict each claim; `ok` when none does.

    altered: what is not as the victim or the data give it; there are no rows where the images or goals are others.
    Raises ValueError for a record of another experiment or another version, or when data or weights are missing.
    """
    config = _config(record)
    shared = setting(config, context)
    if any(model.randomized and model.host is not None for model in shared.victim.undefended.values()):
        raise ValueError(f"recheck must be of models that get the same images right again, not {config.victim.models}")
    if altered := list(_altered(record, config, shared)):
        return {"rows": [], "altered": altered, "ok": False}
    pairs = [(name, choice) for name in shared.victim.models for choice in config.attacks]
    cells = {pair: cell_of(record, f"{pair[1]} on {pair[0]}") for pair in pairs}
    rows, altered = list(_rows(record, shared, cells, context)), list(_derived(record, config, shared, cells))
    claims = [value for row in rows for name, value in row.items() if name not in ("attack", "defense", "images")]
    return {"rows": rows, "altered": altered, "ok": not altered and not any(claims)}


def _config(record: Record) -> Config:
    """The configuration of the record, its attacks as they were run."""
    saved = saved_settings(record, "attack", Config())
    if absent := [name for name in (*MEASURED, *SAID) if name not in record.data]:
        raise ValueError(f"record {record.folder} must have {', '.join(absent)}, made by this version")
    victim, threat = VictimOptions.saved(saved["victim"]), Threat(**saved["threat"])
    read = {"defenses": defense_choices(*saved["defenses"]), "attacks": _attacks(record)}
    rest = {"victim": victim, "threat": threat, "stopping": stopping_rule(saved["stopping"])}
    return Config(**(saved | read | rest))


def _attacks(record: Record) -> tuple[Choice, ...]:
    """The attacks that were asked for, and those at theory's radius."""
    asked, best = attack_choices(*record.manifest["config"]["attacks"]), record.manifest.get("best_response")
    if best is None:
        return asked
    if not isinstance(best, dict) or not isinstance(best.get("smoothing_radius"), float):
        raise ValueError(f"record {record.folder} must have the smoothing_radius of its best_response")
    return with_radius(asked, best["smoothing_radius"])


def _altered(record: Record, config: Config, shared: Setting) -> Iterator[str]:
    """What the record attacked, by the names of its variables, where that is not what its configuration gives."""
    victim = shared.victim
    given = {
        "defense": config.victims,
        "attack": list(map(str, config.attacks)),
        "image": victim.ids,
        "count": trace_counts(config.threat.query_budget),
        "start": shared.starts,
        "label": victim.labels,
        "goal": shared.goals,
    }
    yield from (name for name, value in given.items() if not np.array_equal(record.data[name].values, np.array(value)))
    if record.manifest.get("pictures") != shared.pictures:
        yield "pictures"


def _derived(record: Record, config: Config, shared: Setting, cells: Cells) -> Iterator[str]:
    """What is said of the victims, and of the data in the report, where it does not follow from them."""
    models = shared.victim.models.values()
    if not np.array_equal(record.data.randomized.values, [model.randomized for model in models]):
        yield "randomized"
    if not np.array_equal(record.data.evaluations.values, [config.evaluations_of(model) for model in models]):
        yield "evaluations"
    if not np.array_equal(record.data.passes.values, [model.passes for model in models]):
        yield "passes"
    totals = [sum(cell.manifest[of] for cell in cells.values()) for of in ("evaluated", "padded")]
    if [record.manifest.get(name) for name in ("queries", "waste")] != totals:
        yield "queries"
    yield from _shown(record, shared, [cells[name, config.attacks[0]] for name in shared.victim.models])
    if not store.report_follows(record, report):
        yield "report"


def _shown(record: Record, shared: Setting, cells: list[Record]) -> Iterator[str]:
    """Of the few images that the record shows, those that are not the victim's, or not its first cells'."""
    told = {name: record.data[name].values for name in ("shown", "shown_clean", "shown_adversarial", "shown_purified")}
    if not np.array_equal(told["shown"], shared.shown):
        yield "shown"
        return
    order = np.argsort(shared.shown)
    ends = np.array([pixels_of(cell, "adversarial", shared.shown[order]) for cell in cells])[:, np.argsort(order)]
    true = {
        "shown_clean": shared.victim.pictures[shared.shown],
        "shown_adversarial": ends,
        "shown_purified": np.array([cell.data.shown_purified.values for cell in cells]),
    }
    yield from (name for name, value in true.items() if not np.array_equal(told[name], value))


def _rows(record: Record, shared: Setting, cells: Cells, context: Context) -> Iterator[dict[str, Any]]:
    for i, (name, model) in enumerate(shared.victim.models.items()):
        for j, choice in enumerate(shared.config.attacks):
            told = record.data.isel(defense=i, attack=j)
            found = _contradictions(shared, model, choice, told, cells[name, choice])
            yield {"attack": str(choice), "defense": name, "images": told.sizes["image"], **found}
        context.advance("rechecked defences", i + 1, len(shared.victim.models))


def _contradictions(
    shared: Setting, model: Model, choice: Choice, told: xr.Dataset, cell: Record
) -> dict[str, int | None]:
    """How many images contradict each claim, looked at in parts; None where nobody can tell."""
    config, tile, counts = shared.config, tile_of(shared, choice), []
    for rows in parts_of_cell(shared):
        part, images = shared.part(rows), pixels_of(cell, "adversarial", rows)
        again = _again(part, model, images, tile, rows.start)
        claimed = told.isel(image=rows)
        found = found_of(claimed, images, part.victim.images, config.threat)
        draws = config.evaluations_of(model)
        counts.append(dict(contradictions(choice, config.threat, config.stopping, draws, found, again)))
    return {claim: None if value is None else sum(one[claim] for one in counts) for claim, value in counts[0].items()}


def _again(shared: Setting, model: Model, images: np.ndarray, tile: int, first: int) -> Again:
    """What the model says of the final images (n, h, w, c) of an attack; one on the host is not asked."""
    if model.host is not None:
        return Again(None)
    fooled = fresh_draws(shared, model, images, tile, first=first)
    return Again(fooled) if model.randomized else Again(fooled, *_losses(shared, model, images, tile))


def _losses(shared: Setting, model: Model, images: np.ndarray, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the loss that an attacker lowers at each image of a deterministic model, and its rounding."""
    keys, ask, goals = jax.random.split(jax.random.key(0), tile), jax.jit(model.scores), shared.goals.astype(np.int32)
    places = np.minimum(np.arange(-(-len(images) // tile) * tile), len(images) - 1).reshape(-1, tile)
    scores = np.concatenate([ask(model.params, keys, images[place]) for place in places])[: len(images)]
    loss = revealed_loss(margin_loss, shared.config.threat.targeted)(jnp.asarray(scores), jnp.asarray(goals))
    return np.asarray(loss), LOSS_ROUNDING * np.nan_to_num(np.abs(scores).max(axis=1), posinf=0)
