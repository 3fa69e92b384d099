"""The experiments `white-box` and `masking` at a small size: their records, rechecks, and a defence that hides."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from defenses.purifiers.table import defense_choices
from sims.command_line import main
from sims.experiments.masking import Config as MaskingConfig
from sims.experiments.white_box.report import report
from sims.experiments.white_box.run import Config, plan
from sims.records import store
from sims.white_box.table import white_box_choices
from tests.sims.experiments.forging import forged

WHITE_BOX = [
    "--images", "8", "--epsilon", "0.2", "--query-budget", "60", "--evaluations", "4", "--rows", "16", "--tile", "8",
    "--attacks", "pgd:steps=5,eot=2", "square",
    "--defenses", "none", "gaussian-noise:std=0.1",
]  # fmt: skip
MASKING = [
    "--images", "20", "--epsilon", "0.25", "--query-budget", "200", "--evaluations", "4", "--steps", "6", "--eot", "2",
    "--views", "1", "--rows", "16", "--tile", "8",
]  # fmt: skip


NAMES = ("attack", "defense", "images")


@pytest.fixture(scope="module")
def white_box(results):
    assert main(["white-box", *WHITE_BOX, "--out", str(results), "--json"]) == 0
    return store.latest(results, "white-box")


def test_the_record_says_what_fresh_draws_say(white_box):
    data, found = white_box.data, white_box.manifest["report"]
    assert (data.predicted.sum("class").sel(defense="none") == 1).all()
    assert (data.predicted.sum("class").sel(defense="gaussian-noise:std=0.1") == 4).all()
    assert (data.predicted_clean.sel(defense="none").argmax("class") == data.label).all()
    assert float(data.distance.max()) <= 0.2 * (1 + 1e-5)
    rows = {(row["attack"], row["defense"]): row for row in found["rows"]}
    assert len(rows) == 4
    for row in rows.values():
        assert row["robust_worst_of_n"] <= row["robust_average_of_n"] <= 1
        assert row["robust_worst_of_n"] <= row["robust_majority"]
    assert rows["pgd:steps=5,eot=2", "none"]["robust_average_of_n"] < 0.5
    assert rows["pgd:steps=5,eot=2", "none"]["clean_average_of_n"] == 1
    assert white_box.manifest["queries"] == int(data.queries.sum())
    assert {one["defense"] for one in found["strongest"]} == {"none", "gaussian-noise:std=0.1"}


def test_the_report_by_hand():
    """Three images, four draws: right in all, tied in the vote, always wrong."""
    votes = np.array([[[[4, 0, 0], [2, 2, 0], [0, 1, 3]]]])
    dims = ("defense", "attack", "image")
    data = xr.Dataset(
        {
            "predicted": ((*dims, "class"), votes),
            "predicted_clean": (("defense", "image", "class"), np.tile([4, 0, 0], (1, 3, 1))),
            "queries": (dims, np.full((1, 1, 3), 7)),
            "distance": (dims, np.full((1, 1, 3), 0.1)),
            "non_finite": (dims, np.zeros((1, 1, 3), bool)),
            "evaluations": ("defense", [4]),
            "label": ("image", [0, 0, 0]),
        },
        {"defense": ["d"], "attack": ["a"]},
    )
    [row] = report(data, {"config": {"defenses": ["d"], "norm": "linf", "epsilon": 0.1}})["rows"]
    assert row["robust_average_of_n"] == pytest.approx(0.5)
    assert row["robust_worst_of_n"] == pytest.approx(1 / 3)
    assert row["robust_majority"] == pytest.approx(1 / 3)
    assert row["clean_average_of_n"] == 1
    assert row["standard_error"] == pytest.approx(np.std([1, 0.5, 0]) / np.sqrt(3))


def rechecked(folder, results, capsys):
    capsys.readouterr()
    status = main(["white-box", "--recheck", str(folder), "--out", str(results), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert status == (0 if found["ok"] else 1)
    return found


def test_an_honest_record_is_confirmed_and_lies_are_not(white_box, results, capsys, tmp_path):
    assert rechecked(white_box.folder, results, capsys)["ok"]

    def claims(change) -> set[str]:
        shutil.rmtree(tmp_path / "white-box", ignore_errors=True)
        folder = forged(white_box, change, tmp_path)
        found = rechecked(folder, results, capsys)
        assert not found["ok"]
        claimed = {name for row in found["rows"] for name, value in row.items() if value and name not in NAMES}
        return claimed | set(found["altered"])

    def move(data, manifest):
        data.adversarial[0, 0, 0] = 1 - data.adversarial[0, 0, 0]

    def vote(data, manifest):
        data.predicted[1, 0, 0] = np.roll(data.predicted[1, 0, 0], 1)

    def boast(data, manifest):
        manifest["report"]["rows"][0]["robust_average_of_n"] = 0.99

    assert {"outside_the_ball", "distance_not_as_claimed"} <= claims(move)
    assert "predictions_not_as_claimed" in claims(vote)
    assert claims(boast) == {"report"}
    assert claims(lambda data, manifest: data.label.__setitem__(0, 9 - data.label[0])) == {"label"}


def test_attacks_that_see_labels_are_refused():
    with pytest.raises(ValueError, match="attacks must see gradients or losses here, hop-skip-jump sees labels"):
        Config(attacks=white_box_choices("hop-skip-jump"))
    with pytest.raises(ValueError, match="attack must be one of"):
        Config(attacks=white_box_choices("pgdd"))


def test_more_draws_than_can_vote_are_refused_at_once():
    said = "evaluations must be <= 1000, the most votes of a query attack, got 1001"
    with pytest.raises(ValueError, match=said):
        MaskingConfig(evaluations=1001)
    with pytest.raises(ValueError, match=said):
        Config(evaluations=1001, attacks=white_box_choices("pgd", "ensemble"))
    Config(evaluations=1001)  # gradients alone take no vote


def test_the_plan_counts_what_a_random_defense_costs(white_box):
    """A gradient as three passes; four draws of what the run leaves, of the clean image twice, and of the best one."""
    attack, defense = "pgd:steps=5,eot=2", "gaussian-noise:std=0.1"
    attacks, defenses = white_box_choices(attack), defense_choices(defense)
    planned = plan(Config(images=8, evaluations=4, attacks=attacks, defenses=defenses))
    asked = int(white_box.data.queries.sel(attack=attack, defense=defense).sum())
    assert planned.rows == 3 * asked + 8 * 4 * 4


@pytest.mark.slow
def test_bare_gradients_are_not_flagged(results, capsys):
    assert main(["masking", *MASKING, "--defenses", "none", "--out", str(results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["flagged"] == []
    surface = store.latest(results, "masking").data.surface
    assert np.unique(surface.values.round(5)).size > 0.9 * 41 * 41


@pytest.mark.slow
def test_a_quantizer_is_flagged(results, capsys):
    assert main(["masking", *MASKING, "--defenses", "quantizer:levels=4", "--out", str(results), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["flagged"] == ["quantizer:levels=4"]
    flags = {row["check"] for row in found["rows"] if row["flagged"]}
    assert "around the defence does not beat through it" in flags
    assert "an unbounded radius breaks everything" in flags
    robust = {row["defense"]: row for row in found["robust"]}
    shares = [value for name, value in robust["quantizer:levels=4"].items() if name != "defense"]
    assert robust["quantizer:levels=4"]["clean"] == max(shares)
    assert robust["quantizer:levels=4"]["base"] > 0.8
    assert robust["quantizer:levels=4"]["around"] < 0.3
    surface = store.latest(results, "masking").data.surface
    assert surface.shape == (1, 1, 41, 41)
    assert np.unique(surface.values.round(5)).size < 0.6 * 41 * 41  # a staircase


def test_the_table_of_white_box_attacks(capsys):
    assert main(["white-box-attacks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-dlr-targeted"} == {row["name"] for row in rows}
    assert {row["feedback"] for row in rows} == {"gradient"}
    assert main(["white-box-attacks"]) == 0
    shown = capsys.readouterr().out
    assert "route=through" in shown
    assert "ensemble" in shown
