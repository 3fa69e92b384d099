"""Robust accuracy against queries: the same images, seeds and budget for every defence and attack, null included."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from defenses import zoo
from sims.attacks.table import build_attack
from sims.engine.run import Result, run_attack
from sims.engine.slots import STATUS
from sims.experiments.attack.recheck import recheck
from sims.experiments.attack.report import COLUMNS, report
from sims.experiments.attack.setting import (
    Config,
    Setting,
    evaluations,
    fresh_draws,
    oracle_of,
    randomized,
    schedule,
    setting,
)
from sims.experiments.experiment import Context, Experiment, Plan
from sims.measurements.best_response import best_radius, with_radius
from sims.measurements.local_geometry import LocalGeometry, measure
from sims.victims.victim import Victim, seconds_per_row, victim_inputs

ATTACK_STREAM, GEOMETRY_STREAM, PURIFIED_STREAM = 1, 2, 3


def plan(config: Config) -> Plan:
    """Rows when no image falls, with those of the evaluation."""
    attacks = len(config.attacks) * (2 if config.best_response else 1)
    cells = len(config.victims) * attacks * config.images
    rows = cells * (config.threat.query_budget + config.evaluations)
    pixels = np.prod(zoo.SOURCES[config.victim.dataset].image_shape)
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), 600 + 8 * cells * int(pixels) / 1e6)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure V and ∇F̄ at the clean images, attack every defence with every attack, judge the final images again."""
    shared = setting(config, context)
    geometry = _geometry(config, context, shared.victim)
    config, facts = _with_best_response(config, shared.victim, geometry[0])
    results = [[_attack(config, context, shared, name, text) for text in config.attacks] for name in config.victims]
    flat = [result for row in results for result in row]
    facts |= {"queries": sum(r.evaluated for r in flat), "waste": sum(r.padded for r in flat)}
    return _dataset(config, shared, results, geometry), facts


def _geometry(config: Config, context: Context, victim: Victim) -> list[LocalGeometry]:
    key, measured = jax.random.fold_in(jax.random.key(config.seed), GEOMETRY_STREAM), []
    for i, defense in enumerate(victim.defenses.values()):
        context.advance("V and gradients", i, len(victim.defenses))
        measured.append(measure(key, victim.classifier, defense, victim.images, victim.labels, config.draws))
    context.advance("V and gradients", len(measured), len(victim.defenses))
    return measured


def _with_best_response(config: Config, victim: Victim, reference: LocalGeometry) -> tuple[Config, dict[str, Any]]:
    """The configuration with the attacks at theory's radius added, and the facts that the radius comes from."""
    if not config.best_response:
        return config, {}
    response = best_radius(victim.classifier, victim.images, victim.labels, reference.gradient)
    added = [with_radius(text, response.smoothing_radius) for text in config.attacks]
    attacks = dict.fromkeys([*config.attacks, *(text for text in added if text)])
    return dataclasses.replace(config, attacks=tuple(attacks)), {"best_response": response._asdict()}


def _attack(config: Config, context: Context, shared: Setting, name: str, text: str) -> Result:
    task, victim = f"{text} on {name}", shared.victim
    context.advance(task, 0, config.images)
    return run_attack(
        jax.random.fold_in(jax.random.key(config.seed), ATTACK_STREAM),
        build_attack(text, config.threat),
        oracle_of(config, victim, name, text),
        victim.images,
        shared.goals,
        victim.ids,
        schedule(config),
        Path(context.checkpoints) / f"{text}-{name.replace('/', '_')}.npz",
        lambda finished, rows: context.advance(task, finished, config.images),
        shared.starts,
    )


def _dataset(config: Config, shared: Setting, results: list[list[Result]], geometry: list[LocalGeometry]) -> xr.Dataset:
    victim, dims = shared.victim, ("defense", "attack", "image")
    pixels = ("height", "width", "channel")
    random = np.array([randomized(config, victim, name) for name in config.victims])
    pairs = list(zip(config.victims, results, strict=True))

    def stack(name: str) -> np.ndarray:
        return np.array([[getattr(result, name) for result in row] for row in results])

    norms = [np.sqrt((g.gradient.reshape(len(g.gradient), -1) ** 2).sum(axis=1)) for g in geometry]
    fooled = [
        [fresh_draws(config, shared, name, text, r.images) for text, r in zip(config.attacks, row, strict=True)]
        for name, row in pairs
    ]
    data = {
        "queries": (dims, stack("queries"), {"long_name": "rows evaluated", "units": "rows"}),
        "success": (dims, stack("success")),
        "status": (dims, stack("status"), {"meanings": ", ".join(STATUS)}),
        "trace": ((*dims, "count"), stack("trace"), {"long_name": "loss or distance after that many queries"}),
        "fooled": (dims, np.array(fooled), {"long_name": "fresh draws that the final image fools"}),
        "evaluations": ("defense", [evaluations(config, victim, name) for name in config.victims]),
        "adversarial": ((*dims, *pixels), stack("images"), {"units": "pixel units"}),
        "purified": ((*dims, *pixels), _purified(config, victim, results), {"units": "pixel units"}),
        "clean": (("image", *pixels), victim.images),
        "start": (("image", *pixels), shared.starts),
        "label": ("image", victim.labels),
        "goal": ("image", shared.goals, {"long_name": "label to leave, or the target of a targeted run"}),
        "variance": (
            ("defense", "image"),
            _padded(config, [g.variance for g in geometry]) * random[:, None],
            {"long_name": "loss-level variance V at the clean image, unknown of a service"},
        ),
        "gradient_norm": (("defense", "image"), _padded(config, norms), {"long_name": "‖∇F̄‖ at the clean image"}),
        "randomized": ("defense", random),
    }
    counts = results[0][0].trace_at
    coordinates = {"defense": list(config.victims), "attack": list(config.attacks), "image": victim.ids}
    return xr.Dataset(data, {**coordinates, "count": counts})


def _padded(config: Config, rows: list[np.ndarray]) -> np.ndarray:
    """(victims, image): the rows of the defences, and nan for a service, into which nobody can look."""
    missing = len(config.victims) - len(rows)
    return np.concatenate([np.array(rows), np.full((missing, config.images), np.nan)])


def _purified(config: Config, victim: Victim, results: list[list[Result]]) -> np.ndarray:
    """One draw of each defence on its adversarial images, (victim, attack, image, h, w, c); a service shows none."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), PURIFIED_STREAM), config.images)

    def purified(name: str, images: np.ndarray):
        defense = victim.defenses.get(name)
        return images if defense is None else defense.apply(defense.params, keys, jnp.asarray(images))

    return np.array(
        [[purified(name, r.images) for r in row] for name, row in zip(config.victims, results, strict=True)]
    )


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs, COLUMNS, recheck)
