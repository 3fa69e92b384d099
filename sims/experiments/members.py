"""Members: the answers of a pool one by one: whether they can be told apart (P4), and what patches do to V (P1, P3)."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tyro
import xarray as xr

from defenses import zoo
from defenses.data.sources import image_shape
from defenses.options.ranges import check_positive
from sims.experiments.diversity import standard_error
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.measurements import pool_members
from sims.victims.victim import VictimOptions, check_one_model, load_victim, seconds_per_row, victim_inputs
from theory.catalogue import find

PASSES = 64  # of one image: every member forward and backward, if there are sixteen


@dataclass(frozen=True)
class Config:
    """The members of a pool of purifiers, on held-out images; the margin loss is read."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    pool: str = "puridefense"
    """puridefense; purifiers, those of the embedded default; or the file of a pool of `python -m sims pool`."""
    patch_sizes: tuple[int, ...] = (2, 4, 8)
    """Sides of the patches in pixels; each must divide the side of the images."""
    smoothing_radius: float = 0.01
    """μ, pixel units, of the attacker who tells members apart."""
    images: int = 50
    """Correctly classified held-out images."""
    draws: int = 128
    """Draws of a choice per image, behind V."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_common(self, "patch_sizes", patch_sizes=1, images=2, draws=2)
        check_one_model(self.victim)
        check_positive(self, "smoothing_radius")
        side = image_shape(self.victim.dataset)[0]
        for patch in self.patch_sizes:
            if side % patch:
                raise ValueError(f"patch_sizes must divide the side of the images, {side}, got {patch}")


def plan(config: Config) -> Plan:
    """Rows of all settings: the draws, and a few passes of every member."""
    rows = config.images * (len(config.patch_sizes) * 2 * config.draws + PASSES)
    held = 16 * config.draws * math.prod(image_shape(config.victim.dataset)) / 1e6
    return Plan(rows, 2 * rows * seconds_per_row(config.victim) + 10, 1000 + held)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Measure the losses of the members, then every patch size and both ways to see a patch."""
    victim = load_victim(config.victim, (), config.images, context.folders, config.seed)
    family = zoo.purifier_family(config.victim.dataset, config.seed, context.folders, config.pool)
    advance = partial(context.advance, "patches")
    split = pool_members.split(victim, family, config.patch_sizes, config.draws, config.seed, advance)
    return pool_members.losses(victim, family).merge(split), {"side": victim.images.shape[1]}


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per patch size and way to see a patch; and how far apart the levels of the members are."""
    side = manifest["side"]
    rows = [
        _row(data.sel(seen=way, patch_size=patch), int((side // patch) ** 2))
        for way in data.seen.values
        for patch in data.patch_size.values
    ]
    return {"rows": rows, "levels": _levels(data, manifest["config"]["smoothing_radius"])}


def _row(cell: xr.Dataset, patches: int) -> dict[str, Any]:
    """V image-wise is that of the members' own losses; the ratios are of sums over the images."""
    members, image_wise = cell.sizes["place"], cell.loss.var("place")
    together, apart = float(cell.together.sum()), float(cell.apart.sum())
    return {
        "seen": str(cell.seen.item()),
        "patch_size": int(cell.patch_size),
        "patches": patches,
        "V_image_wise": float(image_wise.mean()),
        "V": float(cell.variance.mean()),
        "V_standard_error": standard_error(cell.variance),
        "ratio": float(cell.variance.sum() / image_wise.sum()),
        "ratio_to_first_order": apart / together,
        "correlation_of_patches": (together / apart - 1) / (patches - 1) if patches > 1 else None,
        "least_by_P1": 1 / patches,
        "alike": float(cell.alike.mean()),
        "alike_by_P4": find("P4-share")(K=members, P=patches),
        "seam": float(cell.seam.mean()),
        "members_drawn": members * (1 - (1 - 1 / members) ** patches),
    }


def _levels(data: xr.Dataset, radius: float) -> dict[str, Any]:
    """Gaps of neighbouring levels F_k(x), beside what a probe changes a member's loss by: its spread 2μ‖∇F_k(x)‖."""
    gaps: np.ndarray = np.diff(np.sort(data.loss.values, axis=1), axis=1)
    spread = 2 * radius * data.slope.values.mean(axis=1)
    return {
        "members": data.sizes["place"],
        "median_gap": float(np.median(gaps)),
        "median_least_gap": float(np.median(gaps.min(axis=1))),
        "median_spread": float(np.median(spread)),
        "median_gap_over_spread": float(np.median(np.median(gaps, axis=1) / spread)),
        "images_told_apart": float((gaps.min(axis=1) > spread).mean()),
    }


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs)
