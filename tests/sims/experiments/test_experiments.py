"""Each experiment at a small size: the record it leaves, and what it measures beside what is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from sims.command_line import main
from sims.experiments.convergence import stable_step
from sims.measurements.pool_diversity import worst_pair_squared
from sims.records import store
from theory import recursion

SMALL = {
    "moments": ["--samples", "4000", "--smoothing-radii", "0.1", "--draws", "256"],
    "diversity": [
        "--pool-sizes", "2", "8", "--patches-per-side", "1", "2", "--images", "4", "--pools", "3", "--draws", "64",
        "--noise-levels", "0.001", "0.1",
    ],
    "convergence": ["--steps", "40", "--chains", "128", "--network-chains", "8", "--defenses", "average-purifier"],
    "attack": [
        "--images", "24", "--query-budget", "60", "--epsilon", "0.25", "--draws", "64",
        "--attacks", "nes:smoothing_radius=0.1", "square", "null",
        "--defenses", "average-purifier", "random-purifier",
    ],
}  # fmt: skip


@pytest.fixture(  # the fast set has another record of `attack`, in attack/test_setting
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in ("attack", "diversity"))) for name in SMALL],
)
def record(request, results):
    assert main([request.param, *SMALL[request.param], "--out", str(results), "--json"]) == 0
    return request.param, store.latest(results, request.param)


def test_record(record):
    name, found = record
    assert found.manifest["experiment"] == name
    assert {"argv", "commit", "versions", "seconds", "config", "modules", "code", "needs", "device", "report"} <= set(
        found.manifest
    )
    CHECKS[name](found.data, found.manifest)


def moments(data, manifest):
    quadratic = data.isel(curve=slice(0, 2))
    gap = np.abs(quadratic.second_moment - quadratic.predicted_second_moment)
    assert (gap <= 4 * quadratic.second_moment_standard_error).all()
    assert (np.abs(quadratic.squared_bias) <= 5 * quadratic.squared_bias_standard_error).all()  # few degrees of freedom
    noisy, quiet = data.second_moment[3, 0], data.second_moment[2, 0]
    assert noisy > quiet


def diversity(data, manifest):
    image_wise, patch_wise = data.nu2_squared.sel(patch_size=8), data.nu2_squared.sel(patch_size=4)
    assert np.allclose(image_wise.mean("image"), patch_wise.mean("image"), rtol=0.15)  # P1: ν₂ unchanged
    assert (data.nu_squared.sel(patch_size=4) >= data.nu_squared.sel(patch_size=8) - 1e-6).all()  # P1: ν grows
    one_pool = data.sel(pool_size=8)
    assert (one_pool.variance <= one_pool.loss_spread**2 / 4 * 64 / 63).all()  # Popoviciu, for 64 draws


def convergence(data, manifest):
    gap = np.abs(data.objective - data.predicted_objective)[:, 1:]
    assert (gap <= 4.5 * data.objective_standard_error[:, 1:]).mean() > 0.98
    assert data.margin[0, -1] < data.margin[0, 0]


def attack(data, manifest):
    null = data.sel(attack="null", defense="average-purifier")
    assert (null.queries[~null.success] == 60).all()
    assert manifest["queries"] == int(data.queries.sum())
    assert data.distance.max() <= 0.25 + 1e-6
    rows = {(row["attack"], row["defense"]): row for row in manifest["report"]["rows"]}
    assert rows["nes:smoothing_radius=0.1", "average-purifier"]["slow_down"] == 1
    assert rows["nes:smoothing_radius=0.1", "random-purifier"]["slow_down_predicted"] >= 1
    assert rows["square", "average-purifier"]["robust_accuracy"] < 1
    assert rows["nes:smoothing_radius=0.1", "average-purifier"]["V"] == 0


CHECKS = {"moments": moments, "diversity": diversity, "convergence": convergence, "attack": attack}


def test_a_finished_configuration_returns_at_once(results, capsys, monkeypatch):
    """Without a network: another seed would train other weights."""
    arguments = ["moments", *SMALL["moments"], "--instances", "quadratic", "--out", str(results)]
    main(arguments)
    main([*arguments, "--seed", "7"])
    assert store.latest(results, "moments").manifest["config"]["seed"] == 7
    monkeypatch.setattr("sims.command_line._compute", None)  # would fail if it were called
    capsys.readouterr()
    assert main(arguments) == 0
    assert "already done" in capsys.readouterr().out
    assert store.latest(results, "moments").manifest["config"]["seed"] == 0  # what was asked for last


def test_step_is_a_share_of_the_largest_stable_one():
    curvatures = np.linspace(0.2, 1.0, 5)
    edge = stable_step(curvatures, 4, 1.0)
    assert recursion.stable(curvatures, 0.999 * edge, 4)
    assert not recursion.stable(curvatures, 1.001 * edge, 4)


def test_worst_pair_by_hand():
    purified = jnp.zeros((3, 1, 4, 4, 1)).at[1, 0, 0, 0].set(2.0).at[2, 0, 3, 3].set(3.0)
    assert worst_pair_squared(purified, 4)[0] == 13  # members 1 and 2
    assert worst_pair_squared(purified, 2)[0] == 13  # 4 in the first patch, 9 in the last
    both = purified.at[1, 0, 3, 3].set(3.0)
    assert worst_pair_squared(both, 4)[0] == 13  # members 0 and 1
