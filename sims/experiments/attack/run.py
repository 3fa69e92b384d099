"""Robust accuracy against queries: the same images, seeds and budget for every defence and attack, null included."""

from typing import Any

import jax
import numpy as np
import xarray as xr

from defenses.data.sources import image_shape
from sims.attacks.table import build_attack
from sims.engine.memory import run_megabytes
from sims.experiments.attack.cell import attacked
from sims.experiments.attack.recheck import recheck
from sims.experiments.attack.report import COLUMNS, report
from sims.experiments.attack.setting import Config, Setting, setting
from sims.experiments.experiment import Context, Experiment, Plan
from sims.measurements.best_response import best_radius, with_radius
from sims.measurements.local_geometry import batch_rows, measure
from sims.victims.memory import network_megabytes
from sims.victims.victim import seconds_per_row, victim_inputs

GEOMETRY_STREAM = 2
ARRAYS_OF_A_CELL = 4  # images of every cell, adversarial and purified, once more while they are joined
PROGRAM_MEGABYTES = 500


def plan(config: Config) -> Plan:
    """Rows when no image falls, with those of the evaluation; memory of the largest attack beside the network."""
    shape, attacks = image_shape(config.victim.dataset), len(config.attacks) * (2 if config.best_response else 1)
    cells = len(config.victims) * attacks * config.images
    rows = cells * (config.threat.query_budget + config.evaluations)
    built = [build_attack(choice, config.threat) for choice in config.attacks]
    engine = max(run_megabytes(attack, shape, config.images, config.schedule) for attack in built)
    tile = config.tile * max(choice.shared.average for choice in config.attacks)
    saved = (ARRAYS_OF_A_CELL * cells + config.images + 4 * tile) * 4 * np.prod(shape) / 1e6
    network = network_megabytes(config.victim, tile, batch_rows(shape, config.draws))
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), float(PROGRAM_MEGABYTES + engine + saved + network))


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure V and ∇F̄ at the clean images, attack every model with every attack, judge the final images again."""
    shared = setting(config, context)
    victim, attacks, facts, noise, norms = shared.victim, config.attacks, {}, [], []
    key = jax.random.fold_in(jax.random.key(config.seed), GEOMETRY_STREAM)
    for model in victim.models.values():
        geometry = measure(key, model, victim.images, victim.labels, config.draws)
        noise.append(geometry.variance * model.randomized)
        norms.append(geometry.gradient_norm.astype(np.float64))
        del geometry  # a gradient is as large as its image
        context.advance("V and gradients", len(noise), len(victim.models))
    if config.best_response:
        response = best_radius(victim.network, victim.images, victim.labels, norms[0])
        attacks, facts = with_radius(attacks, response.smoothing_radius), {"best_response": response._asdict()}
    rows = [[attacked(shared, context, name, choice) for choice in attacks] for name in victim.models]
    cells = xr.combine_nested(rows, ["defense", "attack"], join="exact", data_vars="all", combine_attrs="override")
    facts |= {"queries": int(cells.evaluated.sum()), "waste": int(cells.padded.sum())}
    names = {"defense": list(victim.models), "attack": list(map(str, attacks))}
    data = cells.transpose("defense", "attack", "image", ...).assign(_said(shared, noise, norms))
    return data.assign_coords(names), facts


def _said(shared: Setting, noise: list[np.ndarray], norms: list[np.ndarray]) -> dict[str, Any]:
    """The columns of the record that no attack changes: of the images, and of every model."""
    config, victim, _, starts = shared
    models, pixels = victim.models.values(), ("image", "height", "width", "channel")
    known = "loss-level variance V at the clean image, unknown of a model on the host"
    return {
        "clean": (pixels, victim.images),
        "start": (pixels, starts),
        "label": ("image", victim.labels),
        "goal": ("image", shared.goals, {"long_name": "label to leave, or the target of a targeted run"}),
        "variance": (("defense", "image"), np.array(noise), {"long_name": known}),
        "gradient_norm": (("defense", "image"), np.array(norms), {"long_name": "‖∇F̄‖ at the clean image"}),
        "randomized": ("defense", [model.randomized for model in models]),
        "evaluations": ("defense", [config.evaluations_of(model) for model in models]),
        "passes": ("defense", [model.passes for model in models], {"long_name": "forward passes"}),
    }


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs, COLUMNS, recheck, lambda config: [config.threat])
