"""Robust accuracy against queries: the same images, seeds and budget for every defence and attack, null included."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr

from defenses import zoo
from sims.attacks.attack import Threat
from sims.attacks.nes import NES
from sims.attacks.table import build_attack, parse_attack
from sims.engine import Result, Schedule, run_attack
from sims.experiments.experiment import Context, Experiment, Plan, check_counts, check_different, check_seed
from sims.local_geometry import LocalGeometry, measure
from sims.oracle import loss_oracle
from sims.slots import STATUS
from sims.slow_down import measured_slow_down, predicted_slow_down, restricted_queries, wilson
from sims.victims import Victim, VictimOptions, load_victim, seconds_per_row, victim_inputs


@dataclass(frozen=True)
class Config:
    """Query attacks on defended images; an image leaves at its first success."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: tuple[str, ...] = ("average-purifier", "random-purifier", "patchwise-purifier")
    """Defences; the first is the reference of the slow-down."""
    attacks: tuple[str, ...] = ("nes", "square", "null")
    """Attacks as `python -m sims attacks` lists them; settings follow a colon: nes:smoothing_radius=0.1."""
    images: int = 200
    """Held-out images that the undefended classifier gets right."""
    threat: tyro.conf.OmitArgPrefixes[Threat] = field(default_factory=Threat)
    rows: int = 64
    """Rows in flight."""
    tile: int = 16
    """Rows per forward pass; results are bit for bit equal on a CPU for one tile size."""
    draws: int = 1024
    """Draws of the defence behind V and ∇F̄ of each image."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_counts(self, images=1, draws=2)
        check_seed(self.seed)
        check_different(self, "defenses", "attacks")
        for name in self.defenses:
            zoo.check_defense(name)
        Schedule(self.threat.query_budget, self.rows, self.tile)
        for name in self.attacks:
            width = build_attack(name, self.threat).width
            if width > 1 and self.threat.query_budget <= width:
                raise ValueError(f"query_budget must be > {width}, one step of {name}, got {self.threat.query_budget}")


def plan(config: Config) -> Plan:
    """Rows when no image falls."""
    rows = len(config.defenses) * len(config.attacks) * config.images * config.threat.query_budget
    return Plan(rows, 2 * rows * seconds_per_row(config.victim), 600)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Attack every defence with every attack, and measure V and ∇F̄ at the clean images for the prediction."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    results = [
        [_attack(config, context, victim, name, attack) for attack in config.attacks] for name in config.defenses
    ]
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    geometry = []
    for i, defense in enumerate(victim.defenses.values()):
        context.advance("V and gradients", i, len(victim.defenses))
        geometry.append(measure(key, victim.classifier, defense, victim.images, victim.labels, config.draws))
    context.advance("V and gradients", len(geometry), len(geometry))
    randomized = np.array([defense.randomized for defense in victim.defenses.values()])
    facts = _cost(results)
    return _dataset(config, victim, results, geometry, randomized), facts


def _attack(config: Config, context: Context, victim: Victim, defense: str, attack: str) -> Result:
    task = f"{attack} on {defense}"
    context.advance(task, 0, config.images)
    return run_attack(
        jax.random.fold_in(jax.random.key(config.seed), 1),
        build_attack(attack, config.threat),
        loss_oracle(victim.classifier, victim.defenses[defense]),
        victim.images,
        victim.labels,
        victim.ids,
        Schedule(config.threat.query_budget, config.rows, config.tile),
        Path(context.checkpoints) / f"{attack}-{defense}.npz",
        lambda finished, rows: context.advance(task, finished, config.images),
    )


def _cost(results: list[list[Result]]) -> dict[str, Any]:
    flat = [result for row in results for result in row]
    return {"queries": sum(r.evaluated for r in flat), "waste": sum(r.padded for r in flat)}


def _dataset(
    config: Config,
    victim: Victim,
    results: list[list[Result]],
    geometry: list[LocalGeometry],
    randomized: np.ndarray,
) -> xr.Dataset:
    dims = ("defense", "attack", "image")

    def stack(name: str) -> np.ndarray:
        return np.array([[getattr(result, name) for result in row] for row in results])

    norms = [np.sqrt((g.gradient.reshape(len(g.gradient), -1) ** 2).sum(axis=1)) for g in geometry]
    data = {
        "queries": (dims, stack("queries"), {"long_name": "rows evaluated", "units": "rows"}),
        "success": (dims, stack("success")),
        "status": (dims, stack("status"), {"meanings": ", ".join(STATUS)}),
        "adversarial": ((*dims, "height", "width", "channel"), stack("images"), {"units": "pixel units"}),
        "purified": (
            (*dims, "height", "width", "channel"),
            _purified(config, victim, results),
            {"units": "pixel units"},
        ),
        "clean": (("image", "height", "width", "channel"), victim.images),
        "label": ("image", victim.labels),
        "variance": (
            ("defense", "image"),
            np.array([g.variance for g in geometry]) * randomized[:, None],
            {"long_name": "loss-level variance V at the clean image"},
        ),
        "gradient_norm": (("defense", "image"), np.array(norms), {"long_name": "‖∇F̄‖ at the clean image"}),
        "randomized": ("defense", randomized),
    }
    coordinates = {"defense": list(config.defenses), "attack": list(config.attacks), "image": victim.ids}
    return xr.Dataset(data, coordinates)


def _purified(config: Config, victim: Victim, results: list[list[Result]]) -> np.ndarray:
    """One draw of each defence on its adversarial images, (defense, attack, image, h, w, c)."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 3), config.images)
    return np.array(
        [
            [defense.apply(defense.params, keys, jnp.asarray(result.images)) for result in row]
            for defense, row in zip(victim.defenses.values(), results, strict=True)
        ]
    )


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per defence and attack: robust accuracy, mean queries, slow-down measured and predicted."""
    threat = manifest["config"]["threat"]
    budget, rows = threat["query_budget"], []
    for attack in data.attack.values:
        cells = data.sel(attack=attack)
        queries = [_restricted(cells.isel(defense=i), budget) for i in range(data.sizes["defense"])]
        for i, defense in enumerate(data.defense.values):
            resisted = int((~cells.success[i]).sum())
            robust = wilson(resisted, data.sizes["image"])
            slow = measured_slow_down(queries[0], queries[i], manifest["config"]["seed"])
            rows.append(
                {
                    "attack": str(attack),
                    "defense": str(defense),
                    "V": float(data.variance[i].mean()),
                    "V_standard_error": float(data.variance[i].std() / np.sqrt(data.sizes["image"])),
                    "robust_accuracy": robust.value,
                    "interval": [robust.low, robust.high],
                    "mean_queries": float(queries[i].mean()),
                    "slow_down": slow.value,
                    "slow_down_interval": [slow.low, slow.high],
                    "slow_down_predicted": _predicted(data, i, queries[0], str(attack), budget),
                    "non_finite": int((cells.status[i] == STATUS.index("non-finite answer")).sum()),
                }
            )
    return {"rows": rows, **threat}


def _restricted(cell: xr.Dataset, budget: int) -> np.ndarray:
    return restricted_queries(cell.queries.values, cell.success.values, budget)


def _predicted(data: xr.Dataset, defense: int, reference: np.ndarray, attack: str, budget: int) -> float | None:
    """The slow-down that theory predicts, where it has a prediction: for NES."""
    _, settings = parse_attack(attack)
    if not isinstance(settings, NES):
        return None
    pair = [0, defense]
    return predicted_slow_down(
        reference,
        budget,
        tuple(data.gradient_norm.values[pair]),
        tuple(data.variance.values[pair]),
        data.clean[0].size,
        settings.smoothing_radius,
        settings.num_directions,
    )


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs)
