"""One cell of `attack`: one attack on one model, its final images judged by fresh draws of the defence."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int

from defenses.model import Model
from defenses.options.names import Choice
from sims.attacks.ball import lengths
from sims.attacks.table import build_attack
from sims.engine.checkpoint import fingerprint
from sims.engine.run import Result, run_attack
from sims.engine.state import STATUS
from sims.experiments.attack.setting import Setting
from sims.experiments.cells.cell import Cell, Computed
from sims.experiments.cells.hashes import model_question
from sims.experiments.cells.modules import chosen_modules
from sims.experiments.cells.parts import in_parts, joined, parts_of, pixels_in_parts
from sims.experiments.experiment import Context
from sims.measurements.fresh_draws import times_fooled
from sims.records.key import settings_of
from sims.records.store import PIXELS, Record, pixels_of
from sims.victims.host import seen_by

ATTACK_STREAM, PURIFIED_STREAM, EVALUATION_STREAM = 1, 3, 4
SHOWN = ("shown", *PIXELS[1:])


def attack_cell(setting: Setting, context: Context, name: str, choice: Choice) -> Cell:
    """What becomes of every image under that attack on the victim's model of that name."""
    victim, config = setting.victim, setting.config
    question = {
        "cell": "attack",
        "attack": str(choice),
        "threat": settings_of(config.threat),
        "stopping": str(config.stopping),
        "evaluations": config.evaluations_of(victim.models[name]),
        "rows": config.rows,
        "tile": config.tile,
        "seed": config.seed,
        "pictures": setting.pictures,
        **model_question(victim, name),
    }
    modules = (__name__, *chosen_modules((victim.chosen[name], choice)))
    run = fingerprint(json.dumps(question))
    return Cell(f"{choice} on {name}", question, modules, partial(_attacked, setting, context, name, choice, run))


def tile_of(setting: Setting, choice: Choice) -> int:
    """Rows per forward pass of the attack's run, with which its final images are judged."""
    attack = build_attack(choice, setting.config.threat)
    return setting.config.schedule.fitted(len(setting.goals) * attack.width).tile


def parts_of_cell(setting: Setting) -> list[slice]:
    """The images of a cell, in the parts that are in memory at a time."""
    return parts_of(len(setting.goals), setting.victim.pictures.shape[1:], setting.config.tile)


def _attacked(setting: Setting, context: Context, name: str, choice: Choice, run: str, folder: Path) -> Computed:
    model, images = setting.victim.models[name], len(setting.goals)

    def of_part(rows: slice, states: Path) -> Computed:
        def advance(finished: int, forwarded: int = 0) -> None:
            context.advance(f"{choice} on {name}", rows.start + finished, images)

        advance(0)
        part_run = fingerprint(run, rows.start)  # a service may remember its answers by the names of what it was asked
        return _part(setting, model, choice, rows, part_run, states, advance)

    parts = in_parts(folder, parts_of_cell(setting), of_part)
    rows = {name: sum(part.manifest[name] for part in parts) for name in ("evaluated", "padded")}
    data = joined(parts).assign(_shown(setting, model, parts))
    return Computed(data, rows, {"adversarial": pixels_in_parts(parts, "adversarial")})


def _part(setting: Setting, model: Model, choice: Choice, rows: slice, run: str, states: Path, advance) -> Computed:
    """The attack on these images."""
    config, part = setting.config, setting.part(rows)
    images, starts = part.victim.images, setting.victim.pictures[part.starts]
    result = run_attack(
        jax.random.fold_in(jax.random.key(config.seed), ATTACK_STREAM),
        build_attack(choice, config.threat),
        seen_by(model, choice.row.feedback, targeted=config.threat.targeted, average=choice.shared.average, run=run),
        images,
        part.goals,
        part.victim.ids,
        config.schedule,
        states / "run.npz",
        advance,
        starts,
    )
    fooled = fresh_draws(part, model, result.images, tile_of(setting, choice), run, rows.start)
    columns = _columns(result, fooled, lengths(config.threat.norm, result.images - images))
    data = xr.Dataset(columns, {"image": part.victim.ids, "count": result.trace_at})
    return Computed(data, {"evaluated": result.evaluated, "padded": result.padded}, {"adversarial": [result.images]})


def _columns(result: Result, fooled: np.ndarray, distance: np.ndarray) -> dict[str, tuple]:
    return {
        "queries": ("image", result.queries, {"long_name": "rows evaluated", "units": "rows"}),
        "success": ("image", result.success),
        "status": ("image", result.status, {"meanings": ", ".join(STATUS)}),
        "trace": (("image", "count"), result.trace, {"long_name": "loss or distance after that many queries"}),
        "fooled": ("image", fooled, {"long_name": "fresh draws that the final image fools"}),
        "distance": ("image", distance, {"long_name": "of the final image", "units": "pixel units"}),
    }


def fresh_draws(
    setting: Setting, model: Model, images: np.ndarray, tile: int, run: str = "", first: int = 0
) -> Int[np.ndarray, " n"]:
    """(n,) in how many of its evaluations each final image of an attack fools the model.

    A jitted model judges with the losses that the attacks saw, bit for bit with their `tile`, and with the same draws
    for every attack, paired. One on the host judges with its labels; it may remember its answers by the names it is
    asked under, so that every `run` of another name gets draws of its own. first: images that come before these.
    """
    config, key = setting.config, jax.random.fold_in(jax.random.key(setting.config.seed), EVALUATION_STREAM)
    feedback = "loss" if model.host is None else "label"
    judge = seen_by(model, feedback, targeted=config.threat.targeted, run=run)
    return times_fooled(key, judge, images, setting.goals, config.evaluations_of(model), tile, first)


def _shown(setting: Setting, model: Model, parts: list[Record]) -> dict[str, tuple]:
    """A few final images, and one draw of the model's defence on them; the images where there is no defence."""
    starts = np.array([0, *np.cumsum([part.data.sizes["image"] for part in parts])])
    homes = np.searchsorted(starts, setting.shown, side="right") - 1
    places = setting.shown - starts[homes]
    images = np.concatenate(
        [pixels_of(parts[home], "adversarial", [at]) for home, at in zip(homes, places, strict=True)]
    )
    key = jax.random.fold_in(jax.random.key(setting.config.seed), PURIFIED_STREAM)
    keys = jax.random.split(key, len(setting.goals))[setting.shown]
    purified = images if model.purify is None else np.asarray(model.purify(model.params, keys, jnp.asarray(images)))
    return {"shown_adversarial": (SHOWN, images), "shown_purified": (SHOWN, purified)}
