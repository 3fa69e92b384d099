"""Diversity: V, Δ, ν and ν₂ of a purifier pool against its size, and of Gaussian noise against its strength."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import tyro
import xarray as xr

from defenses import zoo
from defenses.data.sources import image_shape
from defenses.options.ranges import check_positive
from defenses.purifiers.table import DefenseOptions
from sims.experiments.experiment import (
    Context,
    Experiment,
    Plan,
    check_common,
)
from sims.measurements import defense_diversity, local_geometry, noise_diversity, pool_diversity
from sims.victims.victim import (
    Victim,
    VictimOptions,
    check_one_model,
    load_victim,
    seconds_per_row,
    victim_inputs,
    victim_names,
)
from theory.catalogue import find


@dataclass(frozen=True)
class Config:
    """Diversity of randomised defences on held-out images; the margin loss is read."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: DefenseOptions = ()
    """Defences that are measured as they are, of any kind, in place of the sweeps."""
    sweeps: tuple[Literal["pools", "gaussian-noise"], ...] = ("pools", "gaussian-noise")
    """What is swept where no defences are given: the size of a pool, the strength of noise."""
    pool: str = "purifiers"
    """The pool: purifiers, those of the embedded default; puridefense; or the file of one of `python -m sims pool`."""
    alone: bool = False
    """Members see each patch alone, as PuriDefense has it; else patches are cut from what they make of whole images."""
    pool_sizes: tuple[int, ...] = (2, 3, 5, 8)
    """Purifiers in the pool, K."""
    patches_per_side: tuple[int, ...] = (1, 2, 4)
    """Patches along each side of the image; 1 means one purifier for the whole image."""
    pools: int = 28
    """Different random pools averaged for each K, as far as there are so many."""
    noise_levels: tuple[float, ...] = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
    """Standard deviations σ of the noise, pixel units."""
    images: int = 16
    """Correctly classified held-out images."""
    draws: int = 128
    """Draws per image and pool, or 16 times as many per image and noise level."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        lists = (*(["defenses"] if self.defenses else []), "sweeps", "pool_sizes", "patches_per_side", "noise_levels")
        check_common(self, *lists, pool_sizes=2, patches_per_side=1, images=2, pools=1, draws=2)
        if not self.defenses:
            check_one_model(self.victim)
        check_positive(self, "noise_levels")
        if "pools" in self.sweeps and not self.defenses:
            _patch_sizes(self)


def plan(config: Config) -> Plan:
    """Rows over all settings; the memory of all draws of one image."""
    held = 8 * config.draws * math.prod(image_shape(config.victim.dataset)) / 1e6  # images, purified
    cost, settings = seconds_per_row(config.victim), len(config.pool_sizes) * len(config.patches_per_side)
    if config.defenses:
        rows = 2 * len(victim_names(config.victim, config.defenses)) * config.images * config.draws
        return Plan(rows, rows * cost + len(config.defenses), 1000 + held)
    pools = settings * config.images * config.pools * config.draws * ("pools" in config.sweeps)
    noise = len(config.noise_levels) * config.images * _noise_draws(config) * ("gaussian-noise" in config.sweeps)
    megabytes = 1000 + max(held * ("pools" in config.sweeps), local_geometry.megabytes(_noise_draws(config)))
    return Plan(pools + noise, (pools + noise) * cost + settings, megabytes)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure every setting on the same images."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    if config.defenses:
        advance = partial(context.advance, "defences")
        return defense_diversity.measure(victim, config.draws, config.seed, advance), {}
    parts: list[xr.Dataset] = []
    if "pools" in config.sweeps:
        parts.append(_pools(config, victim, context))
    if "gaussian-noise" in config.sweeps:
        advance = partial(context.advance, "noise levels")
        parts.append(noise_diversity.measure(victim, config.noise_levels, _noise_draws(config), config.seed, advance))
    data = parts[0] if len(parts) == 1 else parts[0].merge(parts[1])
    return data, {}


def _pools(config: Config, victim: Victim, context: Context) -> xr.Dataset:
    family = zoo.purifier_family(config.victim.dataset, config.seed, context.folders, config.pool)
    advance = partial(context.advance, "pools")
    how = config.pool_sizes, _patch_sizes(config), config.alone, config.pools, config.draws, config.seed
    return pool_diversity.measure(victim, family, *how, advance)


def _noise_draws(config: Config) -> int:
    return 16 * config.draws


def _patch_sizes(config: Config) -> tuple[int, ...]:
    side = image_shape(config.victim.dataset)[0]
    for parts in config.patches_per_side:
        if side % parts:
            raise ValueError(f"patches_per_side must divide the side of the images, {side}, got {parts}")
    return tuple(side // parts for parts in config.patches_per_side)


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per setting: means over the images with standard errors, beside what theory says."""
    if "defense_variance" in data:
        return {"rows": [_defense_row(data.isel(defense=i)) for i in range(data.sizes["defense"])]}
    pools = {"rows": _pool_rows(data)} if "pool_size" in data.dims else {}
    return pools | ({"noise": _noise_rows(data)} if "noise_level" in data.dims else {})


def _defense_row(cell: xr.Dataset) -> dict[str, Any]:
    """V, Δ, ν and ν₂, means over the images with standard errors; None where there is no image to compare."""
    nu, nu2 = np.sqrt(cell.defense_nu_squared), np.sqrt(cell.defense_nu2_squared)
    quantities = {"V": cell.defense_variance, "Delta": cell.defense_spread, "nu": nu, "nu2": nu2}
    row: dict[str, Any] = {"defense": str(cell.defense.item())}
    for name, values in quantities.items():
        known = bool(np.isfinite(values).all())
        row |= {name: float(values.mean()) if known else None}
        row |= {f"{name}_standard_error": standard_error(values) if known else None}
    return row


def _noise_rows(data: xr.Dataset) -> list[dict[str, Any]]:
    """The ratio is Σ V / Σ σ²‖∇f‖² over the images; its error is that of the sampled draws, not of the images."""
    rows = []
    for sigma in data.noise_level.values:
        cell = data.sel(noise_level=sigma)
        total = float(cell.noise_limit.sum())
        rows.append(
            {
                "noise_level": float(sigma),
                "V": float(cell.noise_variance.mean()),
                "V_standard_error": standard_error(cell.noise_variance),
                "limit": float(cell.noise_limit.mean()),
                "V_over_limit": float(cell.noise_variance.sum()) / total,
                "ratio_standard_error": float(np.sqrt((cell.noise_variance_standard_error**2).sum())) / total,
            }
        )
    return rows


def _pool_rows(data: xr.Dataset) -> list[dict[str, Any]]:
    """V by P2 from the largest K: for subsets of one pool an identity of subsampling, no test of exchangeability."""
    largest = int(data.pool_size.max())
    rows = []
    for patch in data.patch_size.values:
        whole = float(data.variance.sel(patch_size=patch, pool_size=largest).mean())
        limit = whole / (1 - 1 / largest)
        for k in data.pool_size.values:
            cell = data.sel(patch_size=patch, pool_size=k)
            rows.append(
                {
                    "pool_size": int(k),
                    "patch_size": int(patch),
                    "V": float(cell.variance.mean()),
                    "V_standard_error": standard_error(cell.variance),
                    "V_by_P2": find("P2-mean")(K=int(k), V=limit),
                    "Delta": float(cell.loss_spread.mean()),
                    "Delta_standard_error": standard_error(cell.loss_spread),
                    "nu": float(np.sqrt(cell.nu_squared).mean()),
                    "nu_standard_error": standard_error(np.sqrt(cell.nu_squared)),
                    "nu2": float(np.sqrt(cell.nu2_squared).mean()),
                    "nu2_standard_error": standard_error(np.sqrt(cell.nu2_squared)),
                }
            )
    return rows


def standard_error(values: xr.DataArray) -> float:
    """Standard error of the mean over images."""
    return float(values.std(ddof=1) / np.sqrt(values.size))


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs)
