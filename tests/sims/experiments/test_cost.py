"""What a row of costs is about, and its ratios by hand; and the command on the digits."""

import json

import numpy as np
import pytest
import xarray as xr

from defenses.purifiers.table import read_defense
from sims.command_line import main
from sims.experiments.cost import _kind_and_members, report
from sims.records.store import latest


@pytest.mark.parametrize(
    ("text", "kind", "members"),
    [
        ("puridefense:patch_size=4,members=2", "puridefense:patch_size=4", 2),
        ("puridefense", "puridefense", 16),
        ("puridefense:assignment=member,member=3", "puridefense:assignment=member,member=3", 0),
        ("jpeg", "jpeg", 0),
        ("jpeg+puridefense", "jpeg+puridefense", 0),
    ],
)
def test_defences_that_differ_in_k_alone_are_of_one_kind(text, kind, members):
    assert _kind_and_members(read_defense(text)) == (kind, members)


def test_ratios_are_taken_within_a_round():
    """A machine that is twice as slow in the last round slows both: the ratio stays."""
    seconds = np.array([[1.0, 2.0], [1.0, 2.2], [2.0, 4.2]]) * 1e-3
    data = xr.Dataset({"seconds": (("round", "model"), seconds)}, {"model": ["network", "jpeg"]})
    row = report(data, {})["rows"][1]
    assert (row["model"], row["milliseconds"]) == ("jpeg", pytest.approx(2.2))
    assert row["ratio"] == pytest.approx(2.1)
    assert row["quartiles"] == pytest.approx([2.05, 2.15])


def test_the_command_times_every_model(models, tmp_path, capsys):
    (tmp_path / "models").symlink_to(models)
    arguments = ["--defenses", "jpeg", "purifier", "--images", "8", "--rounds", "3", "--out", str(tmp_path), "--json"]
    assert main(["cost", *arguments]) == 0
    assert [row["model"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["network", "jpeg", "purifier"]
    assert (latest(tmp_path, "cost").data.seconds > 0).all()
    assert main(["cost", "--rounds", "1"]) == 2
