"""Small synthetic records with the schema of the experiments, so that no figure needs a simulation."""

from functools import partial

import numpy as np
import pytest
import xarray as xr

from sims.records import store
from theory.catalogue import CATALOGUE, find

DEFENSES = ["average-purifier", "random-purifier", "patchwise-purifier"]
BUDGET = 200
VICTIM = {"victim": {"model": ["cnn"], "dataset": "digits", "weights": None}}


def moments(dimension=64, variance=2.0):
    radii, variances, lengths = np.array([0.01, 0.1, 1.0]), [0.0, 0.25, 0.0, variance], [1.0, 1.0, 12.0, 12.0]
    law = find("E3-antithetic")
    exact = [[law(d=dimension, grad=g, V=v, mu=m) for m in radii] for v, g in zip(variances, lengths, strict=True)]
    dims = ("curve", "smoothing_radius")
    data = {
        "second_moment": (dims, np.array(exact) * 1.01),
        "second_moment_standard_error": (dims, np.array(exact) * 0.02),
        "predicted_second_moment": (dims, np.array(exact)),
        "variance": ("curve", variances),
        "gradient_norm": ("curve", lengths),
        "dimension": ("curve", [dimension] * 4),
        "instance": ("curve", ["quadratic", "quadratic", "network", "network"]),
        "case": ("curve", ["σ = 0", "σ = 0.5", *DEFENSES[:2]]),
    }
    config = {"estimator": "antithetic", "directions": "gaussian", "num_directions": 1} | VICTIM
    return xr.Dataset(data, {"smoothing_radius": radii}), {"config": config}


def convergence():
    steps, deviations = np.arange(101), np.array([0.0, 0.3, 1.0])
    floors = 12 * deviations**2
    path = floors[:, None] + (20 - floors)[:, None] * 0.94**steps
    margin = np.array([10.0, 11.0, 12.0])[:, None] - 0.5 * steps
    data = {
        "objective": (("deviation", "step"), path * 1.02),
        "objective_standard_error": (("deviation", "step"), path * 0.01),
        "predicted_objective": (("deviation", "step"), path),
        "predicted_floor": ("deviation", floors),
        "margin": (("defense", "step"), margin),
        "margin_standard_error": (("defense", "step"), np.full_like(margin, 0.3)),
    }
    config = {"num_directions": 8, "dimension": 64} | VICTIM
    return xr.Dataset(data, {"deviation": deviations, "defense": DEFENSES}), {"config": config}


def diversity():
    sizes, patches = np.array([2, 4, 8]), [8, 4]
    rng = np.random.default_rng(0)
    scale = (1 - 1 / sizes)[:, None, None] * rng.uniform(0.5, 1.5, (1, 2, 10))
    dims = ("pool_size", "patch_size", "image")
    data: dict = {
        name: (dims, factor * scale) for name, factor in {"variance": 2, "nu_squared": 0.5, "nu2_squared": 0.1}.items()
    }
    levels, limit = np.array([0.001, 0.01, 0.1]), np.array([1e-6, 1e-4, 1e-2])[:, None] * rng.uniform(50, 150, 10)
    data["noise_limit"] = (("noise_level", "image"), limit)
    data["noise_variance"] = (("noise_level", "image"), limit * np.array([1.02, 0.97, 0.6])[:, None])
    data["noise_variance_standard_error"] = (("noise_level", "image"), limit * 0.03)
    coordinates = {"pool_size": sizes, "patch_size": patches, "noise_level": levels}
    return xr.Dataset(data, coordinates, {"side": 8}), {"config": VICTIM}


def attack():
    rng = np.random.default_rng(1)
    shape, scan = (3, 3, 20), (8, 8, 1)
    success = rng.random(shape) < np.array([0.6, 0.8, 0.1])[None, :, None]
    success[0, 2] = False
    dims = ("defense", "attack", "image")
    few, pixels = 5, ("shown", "height", "width", "channel")
    data = {
        "queries": (dims, np.where(success, rng.integers(1, BUDGET, shape), BUDGET - 10)),
        "success": (dims, success),
        "shown": ("shown", np.arange(few)),
        "shown_adversarial": (("defense", *pixels), rng.random((3, few, *scan))),
        "shown_purified": (("defense", *pixels), rng.random((3, few, *scan))),
        "shown_clean": (pixels, rng.random((few, *scan))),
        "label": ("image", np.arange(20) % 7),
        "randomized": ("defense", [False, True, True]),
        "evaluations": ("defense", [1, 10, 10]),
        "fooled": (dims, np.where(success, rng.integers(0, 11, shape), 0)),
    }
    attacks = ["nes", "square", "null"]
    rows = [_attack_row(a, d, i, j) for j, a in enumerate(attacks) for i, d in enumerate(DEFENSES)]
    report = {"rows": rows, "query_budget": BUDGET, "epsilon": 0.15, "norm": "linf", "stopping": "first-success"}
    manifest = {"config": {"threat": {"query_budget": BUDGET}} | VICTIM, "report": report}
    return xr.Dataset(data, {"defense": DEFENSES, "attack": attacks, "image": np.arange(20) + 3}), manifest


def _attack_row(attack: str, defense: str, i: int, j: int):
    slow = 1 + 0.5 * i
    return {
        "attack": attack,
        "defense": defense,
        "V": 0.5 * i,
        "robust_accuracy": 0.2 + 0.1 * i + 0.2 * j,
        "interval": [0.15 + 0.1 * i + 0.2 * j, 0.25 + 0.1 * i + 0.2 * j],
        "robust_average_of_n": 0.3 + 0.1 * i + 0.2 * j,
        "robust_worst_of_n": 0.1 + 0.1 * i + 0.2 * j,
        "evaluations": 10 if i else 1,
        "mean_queries": 100.0,
        "slow_down": slow,
        "slow_down_interval": [slow - 0.1, slow + 0.1],
        "slow_down_predicted": 1.0 + 0.4 * i if attack == "nes" else None,
        "non_finite": 0,
    }


def verify():
    """A row for every statement of the catalogue, with one violated variant and two rows off the axis."""
    bounds = list(CATALOGUE.values())
    tightness = np.array([{"upper": 0.3, "equality": 1.0, "lower": 2.0}[bound.sense] for bound in bounds])
    variant = next(i for i, bound in enumerate(bounds) if bound.status == "variant" and bound.sense == "upper")
    tightness[variant], tightness[0], tightness[1] = 2.75, -0.01, 1e-7
    columns = {
        "label": [bound.label for bound in bounds],
        "instance": ["somewhere"] * len(bounds),
        "status": [bound.status for bound in bounds],
        "sense": [bound.sense for bound in bounds],
        "certified": [i != 2 for i in range(len(bounds))],
        "measured": tightness * 4,
        "error": np.full(len(bounds), 0.02),
        "bound": np.full(len(bounds), 4.0),
        "tightness": tightness,
        "violated": np.arange(len(bounds)) == variant,
        "holds": np.arange(len(bounds)) != variant,
    }
    data: dict = {name: ("row", values) for name, values in columns.items()}
    data["caught"] = ("control", [True, False])
    names = ("label", "instance", "status", "certified", "holds")
    rows = [{name: np.asarray(columns[name])[i].item() for name in names} for i in range(len(bounds))]
    for i, row in enumerate(rows):
        row["verdict"] = "violated" if i == variant else "holds"
    controls = [{"name": "quarter", "caught": True}, {"name": "power of d", "caught": False}]
    manifest = {"config": VICTIM, "report": {"rows": rows, "controls": controls}}
    return xr.Dataset(data, {"control": ["quarter", "power of d"]}), manifest


def masking():
    """Margins that fall along the gradient; the last defence is a staircase, and flagged."""
    offsets = np.linspace(-0.3, 0.3, 13)
    plane = np.broadcast_to(2 - 8 * offsets[:, None], (13, 13))
    surface = np.array([[plane, plane + 1], [plane + 1, plane], [np.round(plane), np.round(plane + 1)]])
    data = {"surface": (("defense", "view", "along", "across"), surface)}
    manifest = {"config": {"epsilon": 0.15} | VICTIM, "report": {"flagged": DEFENSES[2:]}}
    return xr.Dataset(data, {"defense": DEFENSES, "along": offsets, "across": offsets}), manifest


def cost():
    """Two kinds of defences that differ in their members, and one that has none."""
    ratios = {"network": 1.0, "a:members=1": 2.0, "a": 2.1, "b:members=1": 2.0, "b": 8.0, "c": 30.0}
    seconds = np.outer([1.0, 1.1, 0.9, 1.0, 1.2], list(ratios.values())) * 1e-4
    data = {
        "seconds": (("round", "model"), seconds),
        "kind": ("model", ["network", "a", "a", "b", "b", "c"]),
        "members": ("model", [0, 1, 4, 1, 4, 0]),
    }
    return xr.Dataset(data, {"model": list(ratios)}), {"config": VICTIM}


def whole(make, *arguments):
    """What it makes, with the fields that every manifest has."""
    data, manifest = make(*arguments)
    return data, {"experiment": make.__name__, "report": {}} | manifest


MADE = (moments, convergence, diversity, attack, verify, masking, cost)
SYNTHETIC = {make.__name__: partial(whole, make) for make in MADE}


LONG_NAMES = ["gaussian-noise:std=0.0003", "patchwise-purifier", "gaussian-noise:std=0.01"]
LONG_BUDGET = 10_000


def lengthened(name):
    """A record as of a network with a long name on large colour images, behind defences with long names."""
    data, manifest = whole(moments, 150_528, 1.234e-5) if name == "moments" else SYNTHETIC[name]()
    config = {**manifest["config"], "victim": {"model": ["resnet50-v1"], "dataset": "imagenet", "weights": None}}
    if name == "moments":
        data = data.assign(case=("curve", [*data["case"].values[:2], *LONG_NAMES[:2]]))
    if name == "diversity":
        data = data.assign_coords(patch_size=[224, 112]).assign_attrs(side=224)
    if "defense" in data.coords:
        data = data.assign_coords(defense=LONG_NAMES)
    if name == "attack":
        config["threat"] = {"query_budget": LONG_BUDGET}
        queries = np.where(data["success"], data["queries"] * (LONG_BUDGET // BUDGET), LONG_BUDGET)
        data = data.isel(channel=[0, 0, 0]).assign(label=data["label"] + 990, queries=(data["queries"].dims, queries))
    return data, {**manifest, "config": config}


@pytest.fixture(scope="session")
def synthetic():
    """Experiment to a function that makes its data and manifest."""
    return SYNTHETIC


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """A results folder with a record of every experiment; tests only read it."""
    folder = tmp_path_factory.mktemp("results")
    for name, make in SYNTHETIC.items():
        store.write(folder / name / "0", *make())
    return folder


@pytest.fixture(scope="session")
def long_out(tmp_path_factory):
    """A results folder like `out` with long names; tests only read it."""
    folder = tmp_path_factory.mktemp("long")
    for name in SYNTHETIC:
        store.write(folder / name / "0", *lengthened(name))
    return folder


@pytest.fixture
def record(synthetic, tmp_path):
    """A function that writes one synthetic record, changed by `change(data)`, and gives it back."""

    def write(name: str, change=None):
        data, manifest = synthetic[name]()
        return store.write(tmp_path / name / "0", data if change is None else change(data), manifest)

    return write
