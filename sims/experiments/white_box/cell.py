"""The cells of `white-box`: one attack on one model, and one model on the clean images, judged by fresh draws."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from defenses.model import Model
from defenses.options.names import Choice
from sims.attacks.ball import lengths
from sims.experiments.cells.cell import Cell, Computed
from sims.experiments.cells.hashes import model_question
from sims.experiments.cells.modules import chosen_modules
from sims.experiments.experiment import Context
from sims.measurements.fresh_draws import times_predicted
from sims.records.key import settings_of
from sims.victims.oracle import oracle_of
from sims.victims.victim import Victim
from sims.white_box.restarts import AttackPlan, with_restarts

ATTACK_STREAM, EVALUATION_STREAM = 1, 2


def attack_cell(config: Any, context: Context, victim: Victim, pictures: str, name: str, choice: Choice) -> Cell:
    """What becomes of every image under that attack. config: of the experiment."""
    question = {
        "cell": "white-box attack",
        "attack": str(choice),
        "threat": settings_of(config.threat),
        "rows": config.rows,
        **_asked(config, victim, pictures, name),
    }
    modules = (__name__, *chosen_modules((victim.chosen[name], choice)))
    compute = partial(_attacked, config, context, victim, name, choice)
    return Cell(f"{choice} on {name}", question, modules, compute)


def clean_cell(config: Any, victim: Victim, pictures: str, name: str) -> Cell:
    """What the model says of the clean images."""

    def compute(_: Path) -> Computed:
        votes = judged(config, victim.models[name], victim.images)
        return Computed(xr.Dataset({"predicted_clean": (("image", "class"), votes)}, {"image": victim.ids}))

    question = {"cell": "clean images", **_asked(config, victim, pictures, name)}
    modules = (__name__, *chosen_modules(victim.chosen[name]))
    return Cell(f"clean images on {name}", question, modules, compute)


def draws_of(config: Any, model: Model) -> int:
    """Fresh draws that judge an image: one where all would be the same."""
    return config.evaluations if model.randomized else 1


def judged(config: Any, model: Model, images: Float[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n classes"]:
    """(n, classes) predictions of fresh draws; the draws of a defence are the same for every attack, paired.

    config: of an experiment, with its evaluations, seed and tile.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), EVALUATION_STREAM)
    return times_predicted(key, oracle_of(model, "label"), images, draws_of(config, model), config.tile)


def _asked(config: Any, victim: Victim, pictures: str, name: str) -> dict[str, Any]:
    drawn = {"evaluations": draws_of(config, victim.models[name]), "tile": config.tile, "seed": config.seed}
    return {**drawn, "pictures": pictures, **model_question(victim, name)}


def _attacked(config: Any, context: Context, victim: Victim, name: str, choice: Choice, states: Path) -> Computed:
    advance = partial(context.advance, f"{choice} on {name}")
    plan = AttackPlan(config.threat, config.evaluations, config.rows, config.tile, states, advance)
    key, model = jax.random.fold_in(jax.random.key(config.seed), ATTACK_STREAM), victim.models[name]
    outcome = with_restarts(key, choice, plan, victim, model)
    distance = lengths(config.norm, outcome.images.astype(np.float64) - victim.images)
    columns = {
        "predicted": (
            ("image", "class"),
            judged(config, model, outcome.images),
            {"long_name": "fresh draws that predict the class"},
        ),
        "queries": ("image", outcome.queries, {"units": "rows"}),
        "non_finite": ("image", outcome.non_finite, {"long_name": "a run stopped there"}),
        "distance": ("image", distance, {"units": "pixel units"}),
    }
    facts = {"evaluated": outcome.evaluated, "padded": outcome.padded}
    return Computed(xr.Dataset(columns, {"image": victim.ids}), facts, {"adversarial": [outcome.images]})
