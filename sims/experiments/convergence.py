"""ZO-SGD: on a quadratic against its exact recursion and floor (C1), and on a network."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr

from defenses.data.sources import image_shape
from defenses.model import Model
from defenses.options.ranges import check_at_least, check_positive
from defenses.purifiers.table import DefenseOptions, defense_choices
from sims.attacks.estimators.estimator import antithetic
from sims.experiments.experiment import (
    Context,
    Experiment,
    Plan,
    check_common,
)
from sims.measurements.zo_sgd import descend
from sims.victims.losses import margin_loss
from sims.victims.objectives import diagonal_quadratic, noisy_oracle
from sims.victims.oracle import oracle_of
from sims.victims.victim import Victim, VictimOptions, load_victim, seconds_per_row, victim_inputs, victim_names
from theory import recursion


@dataclass(frozen=True)
class Config:
    """ZO-SGD with the antithetic Gaussian estimator."""

    dimension: int = 64
    """Dimension of the quadratic."""
    deviations: tuple[float, ...] = (0.0, 0.3, 1.0)
    """Standard deviations σ of the loss noise on the quadratic; V = σ²."""
    smoothing_radius: float = 0.1
    """μ, in units of x (quadratic) and in pixel units (network)."""
    num_directions: int = 8
    """Directions per step, q."""
    step_fraction: float = 0.25
    """Step size on the quadratic as a share of the largest stable one, in (0, 1)."""
    steps: int = 300
    chains: int = 256
    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: DefenseOptions = defense_choices("average-purifier", "random-purifier", "patchwise-purifier")
    """Defences in front of it."""
    image: int = 0
    """Which of the correctly classified held-out images the network's chains start from."""
    network_step_size: float = 0.001
    """Step size η on the network, pixel units per unit of gradient."""
    network_chains: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_positive(self, "smoothing_radius", "network_step_size", "step_fraction")
        counts = {"dimension": 1, "num_directions": 1, "steps": 1, "chains": 2, "network_chains": 2, "image": 0}
        check_common(self, "deviations", "defenses", **counts)
        if self.step_fraction >= 1:
            raise ValueError(f"step_fraction must be < 1, got {self.step_fraction}")
        check_at_least(self, deviations=0)


def plan(config: Config) -> Plan:
    """Rows of all chains; the memory of one step of them, and of what is seen at every step."""
    per_chain = 2 * config.num_directions * config.steps
    networks = len(victim_names(config.victim, config.defenses)) * config.network_chains * per_chain
    quadratics = len(config.deviations) * config.chains * per_chain
    seconds = networks * seconds_per_row(config.victim) + quadratics * config.dimension / 5e7
    pixels = math.prod(image_shape(config.victim.dataset))
    asked = 2 * config.num_directions * max(config.chains * config.dimension, config.network_chains * pixels)
    seen = config.steps * (max(config.chains, config.network_chains) + config.dimension)
    return Plan(networks + quadratics, seconds, 600 + 8 * (asked + seen) / 1e6)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Run all chains; the dataset holds the quadratic's objective and the network's margin at every step."""
    quadratic = [_quadratic(config, i, deviation) for i, deviation in enumerate(config.deviations)]
    context.advance("quadratics", len(quadratic), len(quadratic))
    victim = load_victim(config.victim, config.defenses, config.image + 1, context.folders, config.seed)
    network = []
    for i, model in enumerate(victim.models.values()):
        context.advance("networks", i, len(victim.models))
        network.append(_network(config, i, victim, model))
    context.advance("networks", len(network), len(network))
    measured, error, predicted, floor = (np.array(part) for part in zip(*quadratic, strict=True))
    margin, margin_error = (np.array(part) for part in zip(*network, strict=True))
    data = {
        "objective": (("deviation", "step"), measured, {"long_name": "F̄ of the quadratic, mean over chains"}),
        "objective_standard_error": (("deviation", "step"), error),
        "predicted_objective": (("deviation", "step"), predicted, {"long_name": "exact recursion C1"}),
        "predicted_floor": (("deviation",), floor),
        "margin": (("defense", "step"), margin, {"long_name": "mean margin loss on the network"}),
        "margin_standard_error": (("defense", "step"), margin_error),
    }
    return xr.Dataset(data, {"deviation": list(config.deviations), "defense": list(victim.models)}), {}


def stable_step(curvatures: np.ndarray, num_directions: int, fraction: float) -> float:
    """That share of the largest stable step size, by bisection on `recursion.stable`."""
    low, high = 0.0, 2 / float(curvatures.max())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if recursion.stable(curvatures, middle, num_directions) else (low, middle)
    return fraction * low


def _quadratic(config: Config, index: int, deviation: float):
    """Mean objective, its standard error and the recursion's prediction per step, and the predicted floor."""
    curvatures = np.linspace(0.2, 1.0, config.dimension)
    start = np.ones((config.chains, config.dimension), np.float32)
    objective = diagonal_quadratic(curvatures, np.zeros(config.dimension))
    eta = stable_step(curvatures, config.num_directions, config.step_fraction)
    values = descend(
        jax.random.fold_in(jax.random.key(config.seed), index),
        antithetic(config.smoothing_radius, config.num_directions),
        noisy_oracle(objective, deviation),
        jnp.asarray(start),
        0,
        eta,
        config.steps,
        objective.value,
    )
    noise = recursion.noise_antithetic(curvatures, config.smoothing_radius, deviation**2)
    path = recursion.trajectory(np.ones(config.dimension), curvatures, eta, config.num_directions, noise, config.steps)
    floor = recursion.floor(curvatures, eta, config.num_directions, noise)
    return *_mean(values), path @ curvatures / 2, floor @ curvatures / 2


def _network(config: Config, index: int, victim: Victim, model: Model):
    """Mean margin and its standard error per step, each chain read with a defence draw of its own."""
    key = jax.random.fold_in(jax.random.key(config.seed), 100 + index)
    reading_keys = jax.random.split(jax.random.fold_in(key, 0), config.network_chains)
    label = int(victim.labels[-1])

    def margin(images):
        labels = jnp.full(config.network_chains, label)
        return margin_loss(model.scores(model.params, reading_keys, images), labels)

    values = descend(
        jax.random.fold_in(key, 1),
        antithetic(config.smoothing_radius, config.num_directions),
        oracle_of(model, "loss"),
        jnp.broadcast_to(victim.images[-1], (config.network_chains, *victim.images.shape[1:])),
        label,
        config.network_step_size,
        config.steps,
        margin,
    )
    return _mean(values)


def _mean(values) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, np.float64)
    return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """Per noise level: the objective at the end beside the recursion; per defence: steps until the margin is gone."""
    last = data.isel(step=-1)
    quadratics = [
        {
            "deviation": float(deviation),
            "objective": float(last.objective[i]),
            "standard_error": float(last.objective_standard_error[i]),
            "predicted": float(last.predicted_objective[i]),
            "predicted_floor": float(data.predicted_floor[i]),
        }
        for i, deviation in enumerate(data.deviation.values)
    ]
    networks = [
        {
            "defense": str(name),
            "first_margin": float(data.margin[i, 0]),
            "standard_error": float(data.margin_standard_error[i, 0]),
            "steps_to_zero_margin": first_negative(data.margin[i]),
        }
        for i, name in enumerate(data.defense.values)
    ]
    return {"rows": quadratics, "networks": networks}


def first_negative(margin: xr.DataArray) -> int | None:
    """First step at which the mean margin is negative, None when it never is."""
    steps = np.flatnonzero(margin.values < 0)
    return int(steps[0]) if len(steps) else None


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs)
