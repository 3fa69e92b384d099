"""One cell of `attack`: the loss-level variance V of one model at the clean images, and the length of its gradient."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from defenses.model import Model
from sims.experiments.attack.setting import Setting
from sims.experiments.cells.cell import Cell, Computed
from sims.experiments.cells.hashes import model_question
from sims.experiments.cells.modules import chosen_modules
from sims.experiments.cells.parts import in_parts, joined, parts_of
from sims.measurements.local_geometry import measure

GEOMETRY_STREAM = 2


def geometry_cell(setting: Setting, name: str) -> Cell:
    """V and ‖∇F̄‖ of the victim's model of that name, over the dimension `image`."""
    victim, config = setting.victim, setting.config
    question = {
        "cell": "geometry",
        "draws": config.draws,
        "seed": config.seed,
        "pictures": setting.pictures,
        **model_question(victim, name),
    }
    modules = (__name__, *chosen_modules(victim.chosen[name]))
    return Cell(f"V and gradient of {name}", question, modules, partial(_measured, setting, victim.models[name]))


def _measured(setting: Setting, model: Model, folder: Path) -> Computed:
    config, victim = setting.config, setting.victim
    key = jax.random.fold_in(jax.random.key(config.seed), GEOMETRY_STREAM)

    def of_part(rows: slice, _: Path) -> Computed:
        part = victim.part(rows)
        found = measure(key, model, part.images, part.labels, config.draws, first=rows.start)
        known = "loss-level variance V at the clean image, unknown of a model on the host"
        columns = {
            "variance": ("image", found.variance * model.randomized, {"long_name": known}),
            "gradient_norm": ("image", found.gradient_norm.astype(np.float64), {"long_name": "‖∇F̄‖ there"}),
        }
        return Computed(xr.Dataset(columns, {"image": part.ids}))

    parts = parts_of(len(victim.ids), victim.pictures.shape[1:], config.tile)
    return Computed(joined(in_parts(folder, parts, of_part)))
