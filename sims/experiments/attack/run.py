"""Robust accuracy against queries: the same images, seeds and budget for every defence and attack, null included."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from defenses.data.sources import image_shape
from defenses.model import Model
from defenses.names import Choice
from sims.attacks.table import build_attack
from sims.engine.checkpoint import fingerprint
from sims.engine.run import Result, Schedule, run_attack
from sims.engine.slots import STATUS
from sims.experiments.attack.recheck import recheck
from sims.experiments.attack.report import COLUMNS, report
from sims.experiments.attack.setting import Config, Setting, evaluations, fresh_draws, seen, setting
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
    pixels = np.prod(image_shape(config.victim.dataset))
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), 600 + 8 * cells * int(pixels) / 1e6)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure V and ∇F̄ at the clean images, attack every defence with every attack, judge the final images again."""
    shared = setting(config, context)
    geometry = _geometry(config, context, shared.victim)
    config, facts = _with_best_response(config, shared.victim, geometry[0])
    results = [[_attack(config, context, shared, name, one) for one in config.attacks] for name in shared.victim.models]
    flat = [result for row in results for result in row]
    facts |= {"queries": sum(r.evaluated for r in flat), "waste": sum(r.padded for r in flat)}
    return _dataset(config, shared, results, geometry), facts


def _geometry(config: Config, context: Context, victim: Victim) -> list[LocalGeometry]:
    """V and ∇F̄ of every model at the clean images; nan of one on the host, into which nobody can look."""
    key, measured = jax.random.fold_in(jax.random.key(config.seed), GEOMETRY_STREAM), []
    for i, model in enumerate(victim.models.values()):
        context.advance("V and gradients", i, len(victim.models))
        if model.host is None:
            measured.append(measure(key, model, victim.images, victim.labels, config.draws))
        else:
            unknown = np.full(len(victim.images), np.nan)
            measured.append(LocalGeometry(unknown, unknown, np.full(victim.images.shape, np.nan)))
    context.advance("V and gradients", len(measured), len(victim.models))
    return measured


def _with_best_response(config: Config, victim: Victim, reference: LocalGeometry) -> tuple[Config, dict[str, Any]]:
    """The configuration with the attacks at theory's radius added, and the facts that the radius comes from."""
    if not config.best_response:
        return config, {}
    response = best_radius(victim.network, victim.images, victim.labels, reference.gradient)
    added = [with_radius(choice, response.smoothing_radius) for choice in config.attacks]
    attacks = dict.fromkeys([*config.attacks, *(choice for choice in added if choice)])
    return dataclasses.replace(config, attacks=tuple(attacks)), {"best_response": response._asdict()}


def _attack(config: Config, context: Context, shared: Setting, name: str, choice: Choice) -> Result:
    task, victim = f"{choice} on {name}", shared.victim
    context.advance(task, 0, config.images)
    return run_attack(
        jax.random.fold_in(jax.random.key(config.seed), ATTACK_STREAM),
        build_attack(choice, config.threat),
        seen(config, victim.models[name], choice),
        victim.images,
        shared.goals,
        victim.ids,
        Schedule(config.threat.query_budget, config.rows, config.tile, stopping=config.stopping),
        Path(context.checkpoints) / f"{fingerprint(str(choice), name)[:16]}.npz",
        lambda finished, rows: context.advance(task, finished, config.images),
        shared.starts,
    )


def _dataset(config: Config, shared: Setting, results: list[list[Result]], geometry: list[LocalGeometry]) -> xr.Dataset:
    victim, dims = shared.victim, ("defense", "attack", "image")
    pixels = ("height", "width", "channel")
    random = np.array([model.randomized for model in victim.models.values()])

    def stack(name: str) -> np.ndarray:
        return np.array([[getattr(result, name) for result in row] for row in results])

    norms = [np.sqrt((g.gradient.reshape(len(g.gradient), -1) ** 2).sum(axis=1)) for g in geometry]
    each = list(zip(victim.models.values(), results, strict=True))
    fooled = [fresh_draws(config, shared, model, [result.images for result in row]) for model, row in each]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), PURIFIED_STREAM), config.images)
    purified = [[_purified(model, keys, result.images) for result in row] for model, row in each]
    data = {
        "queries": (dims, stack("queries"), {"long_name": "rows evaluated", "units": "rows"}),
        "success": (dims, stack("success")),
        "status": (dims, stack("status"), {"meanings": ", ".join(STATUS)}),
        "trace": ((*dims, "count"), stack("trace"), {"long_name": "loss or distance after that many queries"}),
        "fooled": (dims, np.array(fooled), {"long_name": "fresh draws that the final image fools"}),
        "evaluations": ("defense", [evaluations(config, model) for model in victim.models.values()]),
        "adversarial": ((*dims, *pixels), stack("images"), {"units": "pixel units"}),
        "purified": ((*dims, *pixels), np.array(purified), {"units": "pixel units"}),
        "clean": (("image", *pixels), victim.images),
        "start": (("image", *pixels), shared.starts),
        "label": ("image", victim.labels),
        "goal": ("image", shared.goals, {"long_name": "label to leave, or the target of a targeted run"}),
        "variance": (
            ("defense", "image"),
            np.array([g.variance for g in geometry]) * random[:, None],
            {"long_name": "loss-level variance V at the clean image, unknown of a model on the host"},
        ),
        "gradient_norm": (("defense", "image"), np.array(norms, np.float64), {"long_name": "‖∇F̄‖ at the clean image"}),
        "randomized": ("defense", random),
        "passes": ("defense", [model.passes for model in victim.models.values()], {"long_name": "forward passes"}),
    }
    counts = results[0][0].trace_at
    coordinates = {"defense": list(victim.models), "attack": list(map(str, config.attacks)), "image": victim.ids}
    return xr.Dataset(data, {**coordinates, "count": counts})


def _purified(model: Model, keys: Key[Array, " n"], images: np.ndarray) -> np.ndarray:
    """One draw of the model's defence on the images; the images where there is no defence."""
    return images if model.purify is None else np.asarray(model.purify(model.params, keys, jnp.asarray(images)))


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs, COLUMNS, recheck)
