"""Gradient masking: does a defence resist gradients because it is robust, or because it hides them?

Eight attacks on the same images, seven comparisons that come out one way where gradients can be trusted, and the loss
around some images, along the gradient and across it.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
import xarray as xr

from defenses.data.sources import image_shape
from defenses.options.names import Choice, NumberOption
from defenses.purifiers.table import DefenseOptions, defense_choices
from sims.attacks.attack import Threat
from sims.attacks.ball import Norm, check_ball
from sims.engine.checkpoint import fingerprint
from sims.engine.run import Schedule
from sims.engine.stopping import check_votes
from sims.experiments.cells.cell import Cell, Computed, records_of
from sims.experiments.cells.hashes import model_question, pictures_hash
from sims.experiments.cells.join import keys_of
from sims.experiments.cells.modules import chosen_modules
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.experiments.white_box.cell import draws_of, judged
from sims.measurements.fresh_draws import times_right
from sims.records.key import settings_of
from sims.victims.memory import network_megabytes
from sims.victims.victim import (
    Victim,
    VictimOptions,
    load_victim,
    seconds_per_row,
    victim_inputs,
    victim_names,
)
from sims.white_box.cost import judgements, passes
from sims.white_box.masking import CHECKS, Check, find, probes
from sims.white_box.restarts import AttackPlan, with_restarts
from sims.white_box.surface import loss_surface
from sims.white_box.table import build_white_box, is_white_box

ATTACK_STREAM, SURFACE_STREAM = 1, 3  # 2 judges, in white_box
GRID = 41  # points along and across
REACH = 2.0  # radii to each side
COLUMNS = ("defense", "check", "stronger", "weaker", "difference", "standard_error", "flagged")


@dataclass(frozen=True)
class Config:
    """Checks that a defence's gradients can be trusted."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: DefenseOptions = defense_choices("none", "average-purifier", "random-purifier")
    images: int = 100
    """Held-out images that the undefended classifier gets right."""
    norm: Norm = "linf"
    """Norm of the distance: linf or l2."""
    epsilon: NumberOption = 0.15
    """Radius of the ball, pixel units, > 0 and finite."""
    steps: int = 20
    """Gradient steps of the basic attack, >= 2; the longer one takes four times as many."""
    eot: int = 10
    """Fresh draws of a random defence behind every gradient."""
    query_budget: int = 2000
    """Rows that the black-box attack may ask for, for one image."""
    evaluations: int = 20
    """Fresh draws of a random defence on every final image."""
    views: int = 2
    """Images whose loss surface is looked at, >= 1."""
    rows: int = 64
    """Rows in flight."""
    tile: int = 16
    """Rows per forward and backward pass."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_common(self, "defenses", images=10, steps=2, eot=1, evaluations=1, views=1)
        if self.views > self.images:
            raise ValueError(f"views must be <= {self.images}, the images, got {self.views}")
        check_ball(self.epsilon)
        Schedule(self.query_budget, self.rows, self.tile)
        check_votes(self.evaluations)
        for probe in _probes(self).values():
            if is_white_box(probe.attack):
                build_white_box(probe.attack, Threat(self.norm, probe.epsilon))


def plan(config: Config) -> Plan:
    """Forward passes when every defence is random and no image falls, a gradient counted as three."""
    each = sum(passes(attack, config.query_budget) for attack in attacks(config))
    each += config.evaluations * judgements(attacks(config))
    surface = config.views * GRID**2 * config.evaluations
    rows = len(victim_names(config.victim, config.defenses)) * (config.images * each + surface)
    megabytes = 600 + ((4 * config.images + config.tile) * _pixels(config) * 16 + config.tile * config.eot * 8) / 1e6
    megabytes += network_megabytes(config.victim, config.tile, config.tile)
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), megabytes)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Attack every defence by every probe, and look at the loss around the first images."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    pictures = pictures_hash(victim)
    records = records_of(context, [_cell(config, context, victim, pictures, name) for name in victim.models])
    data = xr.concat([record.data for record in records], "defense", data_vars="all", join="exact")
    facts = {"classes": victim.network.num_classes, "cells": keys_of(records)}
    return data.assign({"label": ("image", victim.labels)}).assign_coords(defense=list(victim.models)), facts


def _cell(config: Config, context: Context, victim: Victim, pictures: str, name: str) -> Cell:
    """All probes of one model, and its loss surfaces."""
    own = {part: value for part, value in settings_of(config).items() if part not in ("victim", "defenses")}
    question = {"cell": "masking", **own, "pictures": pictures, **model_question(victim, name)}
    modules = (__name__, *chosen_modules((victim.chosen[name], attacks(config))))
    return Cell(f"masking on {name}", question, modules, partial(_probed, config, context, victim, name))


def _probed(config: Config, context: Context, victim: Victim, name: str, states: Path) -> Computed:
    names = tuple(_probes(config))
    found = [_probe(config, context, victim, name, probe, states) for probe in names]
    robust, non_finite = (np.array([pair[part] for pair in found]) for part in (0, 1))
    offsets = np.linspace(-REACH, REACH, GRID) * config.epsilon
    surfaces = [_surface(config, victim, name, view, offsets) for view in range(config.views)]
    data = {
        "robust": (("probe", "image"), robust, {"long_name": "share of fresh draws not fooled"}),
        "clean": (
            "image",
            _right(config, victim, name, victim.images),
            {"long_name": "share of fresh draws right on the clean image"},
        ),
        "non_finite": (("probe", "image"), non_finite, {"long_name": "an answer or gradient was not finite"}),
        "surface": (("view", "along", "across"), np.array(surfaces), {"units": "logit units"}),
    }
    coordinates = {"probe": list(names), "image": victim.ids, "along": offsets, "across": offsets}
    return Computed(xr.Dataset(data, coordinates))


def _probe(
    config: Config, context: Context, victim: Victim, name: str, probe: str, states: Path
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the share of fresh draws in which each image is still right, and (n,) whether a run stopped at it."""
    attack, epsilon = _probes(config)[probe]
    task, folder = f"{probe} on {name}", states / fingerprint(probe)[:16]
    threat = Threat(config.norm, epsilon, config.query_budget)
    plan = AttackPlan(threat, config.evaluations, config.rows, config.tile, folder, partial(context.advance, task))
    key = jax.random.fold_in(_key(config, ATTACK_STREAM), list(_probes(config)).index(probe))
    outcome = with_restarts(key, attack, plan, victim, victim.models[name])
    return _right(config, victim, name, outcome.images), outcome.non_finite


def _right(config: Config, victim: Victim, name: str, images: np.ndarray) -> np.ndarray:
    """(n,) the share of fresh draws in which each image is right."""
    model = victim.models[name]
    return times_right(victim.labels, judged(config, model, images)) / draws_of(config, model)


def _surface(config: Config, victim: Victim, name: str, view: int, offsets: np.ndarray) -> np.ndarray:
    model = victim.models[name]
    draws = draws_of(config, model)
    key = jax.random.fold_in(_key(config, SURFACE_STREAM), view)
    [image], label = victim.pictures[[view]], int(victim.labels[view])
    return loss_surface(key, model, config.norm, image, label, offsets, draws, config.tile)


def _probes(config: Config):
    return probes(config.norm, config.epsilon, _pixels(config), config.steps, config.eot)


def _pixels(config: Config) -> int:
    return int(np.prod(image_shape(config.victim.dataset)))


def _key(config: Config, stream: int):
    return jax.random.fold_in(jax.random.key(config.seed), stream)


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per defence and check; `ok` when no defence is flagged."""
    config = manifest["config"]
    rows = [
        _row(data.sel(defense=name), check, manifest["classes"]) for name in data.defense.values for check in CHECKS
    ]
    spoilt = {str(name): int(data.non_finite.sel(defense=name).sum()) for name in data.defense.values}
    flagged = [name for name in spoilt if spoilt[name] or any(r["flagged"] for r in rows if r["defense"] == name)]
    robust = [
        {
            "defense": str(name),
            "clean": float(data.clean.sel(defense=name).mean()),
            **{str(p): float(data.robust.sel(defense=name, probe=p).mean()) for p in data.probe.values},
        }
        for name in data.defense.values
    ]
    return {
        "rows": rows,
        "robust": robust,
        "flagged": flagged,
        "not_finite": spoilt,
        "norm": config["norm"],
        "epsilon": config["epsilon"],
        "ok": not flagged,
    }


def _row(cell: xr.Dataset, check: Check, classes: int) -> dict[str, Any]:
    robust = {str(probe): cell.robust.sel(probe=probe).values for probe in cell.probe.values}
    finding = find(check, robust, classes)
    return {
        "defense": str(cell.defense.item()),
        "check": check.name,
        "stronger": check.stronger,
        "weaker": check.weaker or "chance",
        **finding._asdict(),
    }


def attacks(config: Config) -> tuple[Choice, ...]:
    """Those of all probes."""
    return tuple(probe.attack for probe in _probes(config).values())


def threats(config: Config) -> list[Threat]:
    """That of the basic attack."""
    return [Threat(config.norm, config.epsilon, config.query_budget)]


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs, COLUMNS, threats=threats, choices=attacks)
