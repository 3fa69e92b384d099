"""The verification itself: every statement has a certified row, broken code is caught, and the verdict is honest."""

from dataclasses import replace

import jax
import pytest

from defenses import zoo
from defenses.files.folders import Folders
from sims.command_line import main
from sims.experiments import verify
from sims.measurements.streaming import Estimate
from sims.verification import second_moments
from sims.verification.check import Check, once, run_check
from sims.verification.controls import controls
from sims.victims.victim import VictimOptions
from theory.catalogue import CATALOGUE, find


@pytest.fixture(scope="module")
def certified():
    """All rows with exact constants; making them takes seconds, of matrices with 784 rows."""
    return verify.certified_checks()


def test_every_statement_has_a_certified_row(certified):
    assert {check.label for check in certified} == set(CATALOGUE)


def test_bars_on_two_dimensions_are_rows(certified):
    for label in ("E3-forward", "E3-antithetic", "C1-step-forward", "C1-step-antithetic"):
        names = " ".join(check.instance for check in certified if check.label == label)
        assert all(f"d = {d}" in names for d in (12, 784))
        assert "general H" in names


@pytest.mark.slow
@pytest.mark.parametrize("label", ["E3-forward", "E3-antithetic", "C1-step-forward", "C1-step-antithetic"])
def test_bars_on_two_dimensions_hold_to_one_per_cent(label, certified):
    for check in (check for check in certified if check.label == label):
        row = run_check(jax.random.key(11), check)
        assert row.verdict.tight, check.instance
        assert row.measured.standard_error <= 0.01 * row.limit, check.instance


@pytest.mark.slow
def test_network_rows_carry_the_labels_they_are_filtered_by(models):
    found, constants = verify.networks.checks(jax.random.key(0), VictimOptions(), Folders(models=models))
    assert {check.label for check in found if check.certified} == verify.networks.CERTIFIED
    assert {check.label for check in found if not check.certified} == verify.networks.BEHIND_POOL
    slope, purifier, curvature = constants
    assert slope["value"] > 1
    assert 0.5 < purifier["value"] < 5
    assert (curvature["value"], curvature["note"][:20]) == (None, "does not exist: ReLU")  # the cnn
    assert "orthogonal" in curvature["note"]


def test_a_smooth_network_has_a_row_for_its_curvature_and_needs_no_purifier(models, monkeypatch):
    monkeypatch.setattr(zoo, "purifier_family", None)  # would fail if it were called
    smooth = VictimOptions(model=(zoo.read_model("orthogonal"),))
    wanted = frozenset({"S1-smooth"})
    found, (curvature,) = verify.networks.checks(jax.random.key(0), smooth, Folders(models=models), wanted)
    rows = [check for check in found if check.label == "S1-smooth"]
    certified, estimated = (next(c for c in rows if c.certified is kind) for kind in (True, False))
    assert estimated.instance == "orthogonal on digits, log-likelihood"
    assert estimated.values["L1"] == curvature["value"] <= certified.values["L1"]
    assert run_check(jax.random.key(2), estimated).verdict.holds


def test_rows_that_judge_the_same_quantity_measure_it_once():
    calls = []
    measure = once(jax.random.key(0), lambda key: calls.append(key) or Estimate(1.0, 0.1))
    assert measure(jax.random.key(1)) == measure(jax.random.key(2)) == Estimate(1.0, 0.1)
    assert len(calls) == 1


def test_rows_are_named_apart(certified):
    names = [(check.label, check.instance) for check in certified]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("label", ["S1-lipschitz", "E5-factor"])
def test_a_row_holds_and_its_broken_twin_does_not(label, certified):
    check = next(check for check in certified if check.label == label)
    row = run_check(jax.random.key(1), check)
    assert row.verdict.holds
    for factor in (3, 1 / 3):
        broken = replace(find(check.label), expr=find(check.label).expr * factor)
        assert not run_check(jax.random.key(1), check, broken).verdict.holds


def test_controls_have_different_causes():
    assert len({control.name for control in controls()}) >= 12


def _report(measured: float, label: str = "E4-popoviciu", controls_caught: bool = True, complaints: tuple = ()):
    check = Check(
        label, "test", {"Delta": 1.0} if label == "E4-popoviciu" else {"d": 3}, lambda key: Estimate(measured, 1e-3)
    )
    data = verify._dataset([run_check(jax.random.key(0), check)], {"control": controls_caught})
    facts = {"constants": [], "complaints": [], "deviations": {"count": 0, "mean_square": None}}
    return verify.report(data, facts | {"complaints": complaints})


def test_a_proven_violation_or_a_missed_control_fails_the_run():
    assert _report(0.2)["ok"]
    assert not _report(0.3)["ok"]
    assert not _report(float("nan"))["ok"]
    assert not _report(0.2, controls_caught=False)["ok"]
    assert not _report(0.2, complaints=("a term is not seen",))["ok"]


def test_a_violated_variant_is_reported_and_does_not_fail(monkeypatch):
    monkeypatch.setitem(CATALOGUE, "E4-popoviciu", replace(find("E4-popoviciu"), status="variant"))
    report = _report(0.3)
    assert report["ok"]
    assert report["violated"] == ["E4-popoviciu (variant) on test: violated"]


def test_the_command_fails_when_the_code_is_broken(results, monkeypatch, capsys):
    arguments = ["verify", "--statements", "E2-noise-forward", "--out", str(results), "--json"]
    monkeypatch.setattr(verify, "certified_checks", lambda: list(second_moments.checks()))
    monkeypatch.setattr(verify, "controls", lambda: list(controls())[:1])
    monkeypatch.setattr(verify.networks, "checks", lambda key, victim, folders, wanted: ([], []))
    assert main(arguments) == 0
    monkeypatch.setattr("sims.verification.instances.build_estimator", _doubled)
    assert main([*arguments, "--seed", "1"]) == 1


def _doubled(name, radius, q, directions):
    from sims.attacks.estimators.table import build_estimator

    built = build_estimator(name, radius, q, directions)
    return built._replace(combine=lambda points, values: 2 * built.combine(points, values))
