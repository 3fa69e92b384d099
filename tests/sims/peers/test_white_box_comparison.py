"""The comparison with public white-box attacks, as far as it needs none of them: verdicts by hand, refusals."""

import numpy as np
import pytest
import xarray as xr

from sims.command_line import main
from sims.peers import table
from sims.peers.white_box_comparison import Config, report

PAIR = "apgd-ce-autoattack"


def judged(ours, theirs, distance=0.1, pair=PAIR):
    """The row of a pair; ours, theirs: (starts, images) of bools."""
    right = np.stack([ours, theirs], axis=1)[None]
    dims = ("pair", "start", "side", "image")
    far = np.where(np.arange(2)[:, None] == 0, distance, 0.1) * np.ones(right.shape)
    data = xr.Dataset({"right": (dims, right), "distance": (dims, far)}, {"pair": [pair], "side": ["ours", "theirs"]})
    found = report(data, {"config": {"epsilon": 0.1, "seed": 0}})
    [row] = found["rows"]
    assert found["ok"] == row["ok"]
    return row


def left(*counts):
    """(starts, 1000): so many images are left by every start, always the same ones first."""
    return np.array([np.arange(1000) < count for count in counts])


def test_the_row_by_hand():
    row = judged(left(100, 110), left(102, 108))
    assert (row["ours"], row["theirs"]) == (pytest.approx(0.105), pytest.approx(0.105))
    assert row["difference"] == pytest.approx(0)
    assert (row["ours_only"], row["theirs_only"]) == (2, 2)  # 100, 101 half of the time; 108, 109 the other way
    assert row["interval"][0] < 0 < row["interval"][1]
    assert row["ok"]


@pytest.mark.parametrize(("ours", "ok"), [(105, True), (106, False), (95, True), (94, False)])
def test_half_a_point_either_way_is_the_limit(ours, ok):
    assert judged(left(ours), left(100))["ok"] == ok
    assert judged(left(ours), left(100), pair="ensemble-autoattack")["ok"]  # a whole point


def test_images_outside_the_ball_do_not_count_as_agreement():
    row = judged(left(100), left(100), distance=0.1001)
    assert row["outside_the_ball"] == [1000, 0]
    assert not row["ok"]


def test_bad_input_as_typed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert main(["compare-white-box", "--images", "4", "--out", str(tmp_path)]) == 2
    assert "comparisons need the extra [peers]" in capsys.readouterr().err
    assert main(["compare-white-box", "--pairs", "pgd-nobody", "--dry-run"]) == 2
    assert "pairs must be of pgd-torchattacks" in capsys.readouterr().err
    with pytest.raises(ValueError, match="starts must be >= 1, got 0"):
        Config(starts=0)
