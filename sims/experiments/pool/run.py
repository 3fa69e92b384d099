"""Train a pool of local implicit purifiers on what attacks make of training images, and judge each member.

Every member learns to undo one attack on the classifier that the pool protects (arXiv 2401.10586). Attacked images and
members are kept as soon as they are done: the same command goes on after an interruption.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from defenses import zoo
from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Split
from defenses.data.sources import image_shape
from defenses.evaluation import predictions
from defenses.files.folders import Folders
from defenses.model import Model, defended, undefended
from defenses.purifiers.implicit import pairs
from defenses.purifiers.implicit.defense import Pool, PuriDefense, puridefense
from defenses.purifiers.implicit.learning import learnt
from defenses.purifiers.implicit.network import SIZES, parameters
from defenses.purifiers.implicit.plans import Plan as PoolPlan
from defenses.purifiers.implicit.plans import PlanName, plan_for
from sims.experiments.cells.cell import records_of
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.experiments.pool.pairs import QUERY_BUDGET, pairs_cell
from sims.intervals import share
from sims.records.store import pixels_of

BACKWARD = 3  # a forward and a backward pass cost about three forward passes
LIGHT = 50_000  # parameters
SECONDS_PER_PIXEL = 6e-7  # of a forward pass of ResNet-20, or of a light purifier, on two cores
TOGETHER = ("average", "image", "cut", "patch")  # how all members are used
JUDGED = "pgd"  # the attack, blind to the purifiers, whose images they are judged on


@dataclass(frozen=True)
class Config:
    """Options of the pool."""

    plan: PlanName = "puridefense"
    """What is trained: the members of PuriDefense, or the one purifier of DISCO."""
    dataset: str = "digits"
    """Data set to train on."""
    seed: int = 0
    """Seed of every draw, at least 0."""
    judged: int = 1000
    """Test images that each member is judged on, the first ones, at least 1."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_common(self, judged=1)


def plan(config: Config) -> Plan:
    """Rows through the attacked classifier; a member learns at about three times the cost of its forward passes.

    A light member costs about as much as ResNet-20, any other in proportion to its parameters.
    """
    asked = plan_for(config.plan, config.dataset)
    cost = {"fgsm": BACKWARD, "bim": 10 * BACKWARD, "pgd": 10 * BACKWARD}
    rows = asked.recipe.images * sum(cost.get(name, QUERY_BUDGET) for name in {asked.shared, *asked.attacks})
    shape = image_shape(config.dataset)
    lights = sum(parameters(SIZES[one.size], shape[-1]) for one in asked.members(config.seed)) / LIGHT
    taught = int(BACKWARD * lights * asked.recipe.steps * asked.recipe.batch_size)
    pixels = math.prod(shape[:2])
    return Plan(rows, (rows + taught) * pixels * SECONDS_PER_PIXEL, 1500)


def inputs(config: Config, folders: Folders) -> dict[str, Any]:
    """Names and hashes of the weights of the classifier that is attacked."""
    return {"victim": dict(zoo.site(config.dataset, config.seed, folders).protected().origin)}


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Train what is missing; what each member, and the whole pool, makes of clean and of attacked test images."""
    asked, dataset = plan_for(config.plan, config.dataset), zoo.load(config.dataset, context.folders.data)
    victim = zoo.site(config.dataset, config.seed, context.folders).protected()

    def attacked(name: str) -> pairs.Attacked:
        (record,) = records_of(context, [pairs_cell(name, asked, dataset, victim, config.seed, context)])
        return pixels_of(record, "attacked")

    weights = learnt(asked, dataset, victim, config.seed, context.folders.models, attacked)
    pool = Pool(asked.members(config.seed), weights.params, dataset.image_shape[-1], dataset.name)
    return _judged(config, asked, pool, victim, dataset.test), {**weights.origin, "file": str(weights.path)}


def _judged(config: Config, asked: PoolPlan, pool: Pool, victim: Classifier, test: Split) -> xr.Dataset:
    count = min(config.judged, len(test.labels))
    clean, labels = test.images[np.arange(count)], test.labels[:count]
    moved = pairs.attacked(JUDGED, victim, asked.threat, clean, labels, config.seed) / np.float32(255)
    patch = asked.recipe.patch_size
    settings = [PuriDefense("member", member=k) for k in range(len(pool.members))]
    settings += [PuriDefense(one, patch, len(pool.members)) for one in TOGETHER]
    models = [undefended(victim), *(defended(victim, puridefense(one, pool)) for one in settings)]

    both = np.concatenate([clean, moved])

    def right(model: Model) -> np.ndarray:
        """(2, images) of the clean and of the attacked ones."""
        return predictions(model, both, config.seed)[0].reshape(2, -1) == labels

    found = np.array([right(model) for model in models])
    labelled = [(f"member {k}", one.kind, one.size) for k, one in enumerate(pool.members)]
    names, taught, sizes = zip(("none", "", ""), *labelled, *((one, "", "") for one in TOGETHER), strict=True)
    return xr.Dataset(
        {
            "right_clean": (("defense", "image"), found[:, 0]),
            "right_attacked": (("defense", "image"), found[:, 1]),
            "attack": ("defense", list(taught), {"long_name": "attack that the member undoes"}),
            "size": ("defense", list(sizes), {"long_name": "encoder of the member"}),
        },
        {"defense": list(names), "image": np.arange(count)},
    )


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per defence: accuracy on clean images, and the share of images broken by PGD that are right behind it."""
    broken = data.right_clean.sel(defense="none") & ~data.right_attacked.sel(defense="none")
    rows = [_row(data.sel(defense=name), broken) for name in data.defense.values]
    return {"rows": rows, "broken": int(broken.sum()), "file": manifest["file"]}


def _row(one: xr.Dataset, broken: xr.DataArray) -> dict[str, Any]:
    clean = share(int(one.right_clean.sum()), one.sizes["image"])
    restored = share(int((one.right_attacked & broken).sum()), max(1, int(broken.sum())))
    return {
        **{name: str(one[name].item()) for name in ("defense", "attack", "size")},
        "accuracy": clean.value,
        "accuracy_interval": [clean.low, clean.high],
        "restored": restored.value,
        "restored_interval": [restored.low, restored.high],
    }


EXPERIMENT = Experiment(Config, plan, run, report, inputs)
