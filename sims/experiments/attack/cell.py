"""One cell of `attack`: one attack on one model, its final images judged by fresh draws of the defence."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int

from defenses.model import Model
from defenses.options.names import Choice
from sims.attacks.table import build_attack
from sims.engine.checkpoint import fingerprint
from sims.engine.run import run_attack
from sims.engine.state import STATUS
from sims.experiments.attack.setting import Setting
from sims.experiments.experiment import Context
from sims.measurements.fresh_draws import times_fooled
from sims.victims.host import seen_by

ATTACK_STREAM, PURIFIED_STREAM, EVALUATION_STREAM = 1, 3, 4
PIXELS = ("image", "height", "width", "channel")


def tile_of(setting: Setting, choice: Choice) -> int:
    """Rows per forward pass of the attack's run, with which its final images are judged."""
    attack = build_attack(choice, setting.config.threat)
    return setting.config.schedule.fitted(len(setting.goals) * attack.width).tile


def attacked(setting: Setting, context: Context, name: str, choice: Choice) -> xr.Dataset:
    """What became of every image of the victim, over the dimension `image`."""
    config, victim, goals, starts = setting
    model, run = victim.models[name], fingerprint(str(config), name, str(choice))

    def advance(finished: int, rows: int = 0) -> None:
        context.advance(f"{choice} on {name}", finished, config.images)

    advance(0)
    result = run_attack(
        jax.random.fold_in(jax.random.key(config.seed), ATTACK_STREAM),
        build_attack(choice, config.threat),
        seen_by(model, choice.row.feedback, targeted=config.threat.targeted, average=choice.shared.average, run=run),
        victim.images,
        goals,
        victim.ids,
        config.schedule,
        context.state_of(run).with_suffix(".npz"),
        advance,
        starts,
    )
    fooled = fresh_draws(setting, model, result.images, tile_of(setting, choice), run)
    columns = {
        "queries": ("image", result.queries, {"long_name": "rows evaluated", "units": "rows"}),
        "success": ("image", result.success),
        "status": ("image", result.status, {"meanings": ", ".join(STATUS)}),
        "trace": (("image", "count"), result.trace, {"long_name": "loss or distance after that many queries"}),
        "fooled": ("image", fooled, {"long_name": "fresh draws that the final image fools"}),
        "adversarial": (PIXELS, result.images, {"units": "pixel units"}),
        "purified": (PIXELS, _purified(model, config.seed, result.images), {"units": "pixel units"}),
        "evaluated": ((), result.evaluated, {"long_name": "rows forwarded for an image"}),
        "padded": ((), result.padded, {"long_name": "rows forwarded only to fill a tile"}),
    }
    return xr.Dataset(columns, {"image": victim.ids, "count": result.trace_at})


def fresh_draws(setting: Setting, model: Model, images: np.ndarray, tile: int, run: str = "") -> Int[np.ndarray, " n"]:
    """(n,) in how many of its evaluations each final image of an attack fools the model.

    A jitted model judges with the losses that the attacks saw, bit for bit with their `tile`, and with the same draws
    for every attack, paired. One on the host judges with its labels; it may remember its answers by the names it is
    asked under, so that every `run` of another name gets draws of its own.
    """
    config, key = setting.config, jax.random.fold_in(jax.random.key(setting.config.seed), EVALUATION_STREAM)
    feedback = "loss" if model.host is None else "label"
    judge = seen_by(model, feedback, targeted=config.threat.targeted, run=run)
    return times_fooled(key, judge, images, setting.goals, config.evaluations_of(model), tile)


def _purified(model: Model, seed: int, images: np.ndarray) -> np.ndarray:
    """One draw of the model's defence on the images; the images where there is no defence."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), PURIFIED_STREAM), len(images))
    return images if model.purify is None else np.asarray(model.purify(model.params, keys, jnp.asarray(images)))
