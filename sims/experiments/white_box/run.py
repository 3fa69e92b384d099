"""Robust accuracy against attackers who see gradients: through a defence, around it, or blind to it.

The same images for every defence and attack. Nothing is claimed: every final image is judged by N fresh draws of the
defence that no attack has seen, and so are the clean images (the null attack of every table).
"""

from typing import Any

import numpy as np
import xarray as xr

from defenses.data.sources import image_shape
from sims.experiments.cells.cell import records_of
from sims.experiments.cells.hashes import pictures_hash
from sims.experiments.cells.join import join, keys_of, rows_of
from sims.experiments.experiment import Context, Experiment, Plan
from sims.experiments.white_box.cell import attack_cell, clean_cell, draws_of
from sims.experiments.white_box.recheck import recheck
from sims.experiments.white_box.report import COLUMNS, report
from sims.experiments.white_box.setting import Config
from sims.records.store import Record
from sims.victims.memory import network_megabytes
from sims.victims.victim import Victim, load_victim, seconds_per_row, victim_inputs, victim_names
from sims.white_box.cost import judgements, passes

ARRAYS = 10  # of the images of one cell: with the engine's, its candidates, and distances in float64


def plan(config: Config) -> Plan:
    """Forward passes when every defence is random and no image falls, a gradient counted as three."""
    each = sum(passes(choice, config.query_budget) for choice in config.attacks)
    victims = len(victim_names(config.victim, config.defenses))
    rows = victims * config.images * (each + config.evaluations * judgements(config.attacks))
    pixels = np.prod(image_shape(config.victim.dataset))
    images = ARRAYS * config.images + 4 * config.tile
    network = network_megabytes(config.victim, config.tile, config.tile)
    megabytes = 600 + 4 * images * int(pixels) / 1e6 + network
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), megabytes)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Attack every defence with every attack, and judge the final images and the clean ones."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    pictures = pictures_hash(victim)
    clean = records_of(context, [clean_cell(config, victim, pictures, name) for name in victim.models])
    pairs = [(name, choice) for name in victim.models for choice in config.attacks]
    attacked = records_of(context, [attack_cell(config, context, victim, pictures, *pair) for pair in pairs])
    facts = {**rows_of(attacked), "pictures": pictures, "cells": keys_of([*clean, *attacked])}
    return _joined(config, victim, clean, attacked), facts


def _joined(config: Config, victim: Victim, clean: list[Record], attacked: list[Record]) -> xr.Dataset:
    """All cells over the dimensions defense, attack and image."""
    models = victim.models.values()
    said = {
        "evaluations": ("defense", [draws_of(config, model) for model in models]),
        "label": ("image", victim.labels),
        "randomized": ("defense", [model.randomized for model in models]),
    }
    attacks, cells = list(map(str, config.attacks)), [record.data for record in attacked]
    return join(cells, [[record.data for record in clean]], list(victim.models), attacks).assign(said)


EXPERIMENT = Experiment(
    Config,
    plan,
    run,
    report,
    victim_inputs,
    COLUMNS,
    recheck,
    lambda config: [config.threat],
)
