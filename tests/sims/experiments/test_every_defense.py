"""Every defence of the table is listed, measured and attacked at its defaults: a new line is enough for that."""

import json

import pytest

from defenses.command_line import main as defenses
from defenses.purifiers.table import DEFENSES
from sims.command_line import main

TINY = ["--images", "2", "--draws", "8", "--json"]


def printed(capsys):
    return json.loads(capsys.readouterr().out)


def test_every_defense_is_listed_with_its_settings_and_source(capsys):
    assert defenses(["list", "--json"]) == 0
    rows = printed(capsys)["defenses"]
    assert [row["name"] for row in rows] == list(DEFENSES)
    assert all(len(row["source"]) > 10 for row in rows)
    assert {row["name"]: row["settings"] for row in rows}["jpeg"] == {"quality": 75}


@pytest.mark.slow
def test_every_defense_is_measured(results, capsys):
    assert main(["diversity", "--defenses", *DEFENSES, *TINY, "--out", str(results)]) == 0
    for row in printed(capsys)["rows"]:
        random = DEFENSES[row["defense"]].randomized
        assert (row["V"] > 0, row["Delta"] > 0) == (random, random), row
        assert row["nu2"] is None or (row["nu2"] > 0) == random


@pytest.mark.slow
def test_every_defense_is_attacked(results, capsys):
    attack = ["--attacks", "square", "--query-budget", "20", "--evaluations", "2"]
    assert main(["attack", "--defenses", *DEFENSES, *attack, *TINY, "--out", str(results)]) == 0
    rows = printed(capsys)["rows"]
    assert [row["defense"] for row in rows] == list(DEFENSES)
    assert all(0 <= row["robust_worst_of_n"] <= row["robust_average_of_n"] <= 1 for row in rows)
