"""Moments of a gradient estimate against the smoothing radius μ, beside the closed form, with and without noise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
import xarray as xr

from defenses.data.sources import image_shape
from defenses.model import Model, bare
from defenses.options.ranges import check_at_least, check_positive
from defenses.purifiers.table import Chain, DefenseOptions, defense_choices
from sims.attacks.estimators.table import build_estimator
from sims.experiments.experiment import (
    Context,
    Experiment,
    Plan,
    check_common,
)
from sims.measurements import local_geometry
from sims.measurements.gradient_moments import GradientMoments, batch_size, gradient_moments
from sims.measurements.local_geometry import measure
from sims.victims.objectives import diagonal_quadratic, noisy_oracle
from sims.victims.oracle import Oracle, oracle_of
from sims.victims.victim import Victim, VictimOptions, load_victim, seconds_per_row, victim_inputs, victim_names
from theory.averaging import predicted_second_moment

INSTANCES = ("quadratic", "network")
BYTES = 8  # of a queried number: itself and the direction it came from
STATISTICS = ("second_moment", "alignment", "cosine", "squared_bias")


@dataclass(frozen=True)
class Config:
    """Moments of the gradient estimate on a random quadratic and on a network."""

    instances: tuple[str, ...] = INSTANCES
    """Where: quadratic, network."""
    estimator: str = "antithetic"
    """antithetic, forward, forward-shared or identifying."""
    directions: str = "gaussian"
    """gaussian, sphere, rademacher, coordinate or orthogonal."""
    num_directions: int = 1
    """Directions averaged in one estimate, q."""
    smoothing_radii: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """Radii μ: pixel units (network), units of x (quadratic)."""
    samples: int = 20_000
    """Estimates per point."""
    dimension: int = 64
    """Dimension of the quadratic."""
    deviations: tuple[float, ...] = (0.0, 0.5)
    """Standard deviations σ of the loss noise on the quadratic; V = σ²."""
    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: DefenseOptions = defense_choices("average-purifier", "random-purifier")
    """Defences in front of it."""
    image: int = 0
    """Which of the correctly classified held-out images."""
    draws: int = 4096
    """Draws of the defence behind V and ∇F̄."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_positive(self, "smoothing_radii")
        lists = ("instances", "smoothing_radii", "deviations", "defenses")
        check_common(self, *lists, num_directions=1, samples=2, dimension=1, image=0, draws=2)
        for instance in self.instances:
            if instance not in INSTANCES:
                raise ValueError(f"instances must be among {', '.join(INSTANCES)}, got {instance!r}")
        check_at_least(self, deviations=0)
        build_estimator(self.estimator, 1.0, self.num_directions, self.directions)


class Setting(NamedTuple):
    """One curve: an oracle at a point, and what theory needs to know of it (V, ∇F̄, tr H, tr H²).

    variance_error: standard error of V, 0 where it is known. limit: σ²‖∇f‖² of Gaussian noise, else NaN.
    """

    instance: str
    case: str
    oracle: Oracle
    point: np.ndarray
    label: int
    gradient: np.ndarray
    variance: float
    variance_error: float
    limit: float
    trace: float
    trace_of_square: float


def plan(config: Config) -> Plan:
    """Rows over all radii and curves; the memory of one batch of estimates, or of all draws of one image."""
    curves = ("quadratic" in config.instances) * len(config.deviations)
    networks = ("network" in config.instances) * len(victim_names(config.victim, config.defenses))
    queries = build_estimator(config.estimator, 1.0, config.num_directions, config.directions).queries_per_estimate
    per_curve = len(config.smoothing_radii) * config.samples * queries
    seconds = per_curve * (curves * config.dimension / 5e7 + networks * seconds_per_row(config.victim))
    pixels = math.prod(image_shape(config.victim.dataset))
    dimensions = [config.dimension] * (curves > 0) + [pixels] * (networks > 0)
    numbers = max(batch_size(queries, dimension) * queries * dimension for dimension in dimensions)
    megabytes = 300 + BYTES * numbers / 1e6 + local_geometry.megabytes(config.draws) * (networks > 0)
    return Plan(per_curve * (curves + networks), seconds, megabytes)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure every curve at every radius."""
    key = jax.random.key(config.seed)
    victim = _victim(config, context) if "network" in config.instances else None
    settings = [*_quadratics(config), *_networks(config, context, victim)]
    total = len(settings) * len(config.smoothing_radii) * config.samples
    measured, predicted = [], []
    for i, setting in enumerate(settings):
        for j, radius in enumerate(config.smoothing_radii):
            done = (i * len(config.smoothing_radii) + j) * config.samples
            progress = partial(_advance, context, done, total)
            measured.append(
                _measure(jax.random.fold_in(jax.random.fold_in(key, i), j), config, setting, radius, progress)
            )
            predicted.append(_predicted(config, setting, radius))
    return _dataset(config, settings, measured, predicted), {}


def _advance(context: Context, before: int, total: int, done: int) -> None:
    context.advance("estimates", before + done, total)


def _measure(key, config: Config, setting: Setting, radius: float, progress) -> GradientMoments:
    estimator = build_estimator(config.estimator, radius, config.num_directions, config.directions)
    return gradient_moments(
        key, estimator, setting.oracle, setting.point, setting.label, setting.gradient, config.samples, progress
    )


def _predicted(config: Config, setting: Setting, radius: float) -> float:
    """E‖ḡ‖² by theory for Gaussian directions; NaN for the laws without an entry.

    On the network tr H and tr H² are taken as 0: the prediction is that of the linearised loss.
    """
    length = float(np.linalg.norm(setting.gradient))
    label, d = build_estimator(config.estimator, radius, config.num_directions).moments, setting.point.size
    if config.directions != "gaussian" or not label or not np.isfinite(length):
        return float("nan")  # a model on the host has no gradient
    curvature = setting.trace, setting.trace_of_square
    return predicted_second_moment(label, d, length, setting.variance, radius, config.num_directions, *curvature)


def _victim(config: Config, context: Context) -> Victim:
    return load_victim(config.victim, config.defenses, config.image + 1, context.folders, config.seed)


def _quadratics(config: Config) -> Iterator[Setting]:
    if "quadratic" not in config.instances:
        return
    rng = np.random.default_rng(config.seed)
    curvatures = rng.uniform(0.2, 1.0, config.dimension)
    point, slope = rng.normal(size=(2, config.dimension)) / np.sqrt(config.dimension)
    objective = diagonal_quadratic(curvatures, slope)
    gradient = (curvatures * point + slope).astype(np.float32)
    for deviation in config.deviations:
        yield Setting(
            "quadratic",
            f"σ = {deviation:g}",
            noisy_oracle(objective, deviation),
            point.astype(np.float32),
            0,
            gradient,
            deviation**2,
            0.0,
            float("nan"),
            float(curvatures.sum()),
            float((curvatures**2).sum()),
        )


def _networks(config: Config, context: Context, victim: Victim | None) -> Iterator[Setting]:
    if victim is None:
        return
    image, label = victim.images[-1:], victim.labels[-1:]
    each = config.defenses * len(config.victim.model)
    for (name, model), chain in zip(victim.models.items(), each, strict=True):
        context.advance(f"V and gradient, {name}", 0, 1)
        key = jax.random.fold_in(jax.random.key(config.seed), 1_000)
        geometry = measure(key, model, image, label, config.draws)
        context.advance(f"V and gradient, {name}", 1, 1)
        variance, error = (float(v[0]) * model.randomized for v in (geometry.variance, geometry.variance_error))
        limit = _small_noise_limit(model, chain, image, label)
        gradient, at = geometry.gradient[0], int(label[0])
        oracle = oracle_of(model, "loss")
        yield Setting("network", name, oracle, image[0], at, gradient, variance, error, limit, 0.0, 0.0)


def _small_noise_limit(model: Model, chain: Chain, image: np.ndarray, label: np.ndarray) -> float:
    """σ²‖∇f‖² when the defence is Gaussian noise of deviation σ, else NaN."""
    noise = chain.parts[0]
    if len(chain.parts) > 1 or noise.name != "gaussian-noise" or not model.has_gradient:
        return float("nan")
    undefended = measure(jax.random.key(0), bare(model), image, label, 2)
    return float(np.float32(noise.settings.std)) ** 2 * float((undefended.gradient.astype(np.float64) ** 2).sum())


def _dataset(config: Config, settings: list[Setting], measured: list[GradientMoments], predicted) -> xr.Dataset:
    shape = (len(settings), len(config.smoothing_radii))
    table = np.array([[part for part in row] for row in measured]).reshape(*shape, len(STATISTICS), 2)
    dims = ("curve", "smoothing_radius")
    data: dict[str, Any] = {name: (dims, table[:, :, k, 0]) for k, name in enumerate(STATISTICS)}
    data |= {f"{name}_standard_error": (dims, table[:, :, k, 1]) for k, name in enumerate(STATISTICS)}
    data["predicted_second_moment"] = (dims, np.array(predicted).reshape(shape))
    data["variance"] = ("curve", [s.variance for s in settings], {"long_name": "loss-level variance V"})
    data["variance_standard_error"] = ("curve", [s.variance_error for s in settings])
    data["small_noise_limit"] = ("curve", [s.limit for s in settings], {"long_name": "σ²‖∇f‖² of Gaussian noise"})
    data["gradient_norm"] = ("curve", [float(np.linalg.norm(s.gradient)) for s in settings])
    data["dimension"] = ("curve", [s.point.size for s in settings])
    data["instance"] = ("curve", [s.instance for s in settings])
    data["case"] = ("curve", [s.case for s in settings])
    return xr.Dataset(data, {"smoothing_radius": list(config.smoothing_radii)})


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per curve and radius: measured, standard error, predicted."""
    rows = [
        {
            "instance": str(data.instance[i].item()),
            "case": str(data.case[i].item()),
            "smoothing_radius": float(radius),
            "second_moment": float(data.second_moment[i, j]),
            "standard_error": float(data.second_moment_standard_error[i, j]),
            "predicted": _number(data.predicted_second_moment[i, j]),
            "cosine": _number(data.cosine[i, j]),
            "squared_bias": _number(data.squared_bias[i, j]),
            "squared_bias_standard_error": _number(data.squared_bias_standard_error[i, j]),
        }
        for i in range(data.sizes["curve"])
        for j, radius in enumerate(data.smoothing_radius.values)
    ]
    curves = [
        {
            "instance": str(curve.instance.item()),
            "case": str(curve.case.item()),
            "V": float(curve.variance),
            "V_standard_error": float(curve.variance_standard_error),
            "small_noise_limit": _number(curve.small_noise_limit),
            "gradient_norm": _number(curve.gradient_norm),
        }
        for curve in (data.isel(curve=i) for i in range(data.sizes["curve"]))
    ]
    return {"rows": rows, "curves": curves}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs)
