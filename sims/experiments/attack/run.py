"""Robust accuracy against queries: the same images, seeds and budget for every defence and attack, null included."""

from typing import Any

import numpy as np
import xarray as xr

from defenses.data.sources import image_shape
from defenses.options.names import Choice
from sims.attacks.table import build_attack
from sims.engine.memory import run_megabytes
from sims.experiments.attack.cell import SHOWN, attack_cell
from sims.experiments.attack.geometry import geometry_cell
from sims.experiments.attack.recheck import recheck
from sims.experiments.attack.report import COLUMNS, report
from sims.experiments.attack.setting import Config, Setting, setting
from sims.experiments.cells.cell import records_of
from sims.experiments.cells.join import join, keys_of, rows_of
from sims.experiments.cells.parts import parts_of
from sims.experiments.experiment import Context, Experiment, Plan
from sims.measurements.best_response import best_radius, with_radius
from sims.measurements.local_geometry import batch_rows
from sims.records.store import Record
from sims.victims.memory import network_megabytes
from sims.victims.victim import seconds_per_row, victim_inputs

ARRAYS_OF_A_PART = 6  # images, starts, final images and their differences, and once more while they are written
PROGRAM_MEGABYTES = 500


def plan(config: Config) -> Plan:
    """Rows when no image falls, with those of the evaluation; memory of the largest attack beside the network."""
    shape, attacks = image_shape(config.victim.dataset), len(config.attacks) * (2 if config.best_response else 1)
    cells = len(config.victims) * attacks * config.images
    rows = cells * (config.threat.query_budget + config.evaluations)
    built = [build_attack(choice, config.threat) for choice in config.attacks]
    part = max(rows.stop - rows.start for rows in parts_of(config.images, shape, config.tile))
    engine = max(run_megabytes(attack, shape, part, config.schedule) for attack in built)
    tile = config.tile * max(choice.shared.average for choice in config.attacks)
    saved = (config.images + 4 * (ARRAYS_OF_A_PART * part + 4 * tile)) * np.prod(shape) / 1e6
    network = network_megabytes(config.victim, tile, batch_rows(shape, config.draws))
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), float(PROGRAM_MEGABYTES + engine + saved + network))


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure V and ∇F̄ at the clean images, attack every model with every attack, judge the final images again."""
    shared = setting(config, context)
    models, attacks = list(shared.victim.models), config.attacks
    facts: dict[str, Any] = {"pictures": shared.pictures}
    geometry = records_of(context, [geometry_cell(shared, name) for name in models])
    if config.best_response:
        norms = geometry[0].data.gradient_norm.values
        response = best_radius(shared.victim.network, shared.victim.pictures, shared.victim.labels, norms)
        attacks, facts["best_response"] = with_radius(attacks, response.smoothing_radius), response._asdict()
    cells = [attack_cell(shared, context, name, choice) for name in models for choice in attacks]
    attacked = records_of(context, cells)
    facts |= {**rows_of(attacked), "cells": keys_of([*geometry, *attacked])}
    return _joined(shared, attacks, geometry, attacked), facts


def _joined(shared: Setting, attacks: tuple[Choice, ...], geometry: list[Record], attacked: list[Record]) -> xr.Dataset:
    """All cells over the dimensions defense, attack and image; of the pixels only those of a few images."""
    shown = ["shown_adversarial", "shown_purified"]
    measured = [[record.data for record in geometry], [record.data[shown] for record in attacked[:: len(attacks)]]]
    cells = [record.data.drop_vars(shown) for record in attacked]
    return join(cells, measured, list(shared.victim.models), list(map(str, attacks))).assign(_said(shared))


def _said(shared: Setting) -> dict[str, Any]:
    """The columns of the record that no attack changes: of the images, and of every model."""
    config, victim, models = shared.config, shared.victim, shared.victim.models.values()
    return {
        "label": ("image", victim.labels),
        "goal": ("image", shared.goals, {"long_name": "label to leave, or the target of a targeted run"}),
        "start": ("image", shared.starts, {"long_name": "place of the image that an attack may start from"}),
        "shown": ("shown", shared.shown, {"long_name": "place among the images"}),
        "shown_clean": (SHOWN, victim.pictures[shared.shown]),
        "randomized": ("defense", [model.randomized for model in models]),
        "evaluations": ("defense", [config.evaluations_of(model) for model in models]),
        "passes": ("defense", [model.passes for model in models], {"long_name": "forward passes"}),
    }


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs, COLUMNS, recheck, lambda config: [config.threat])
