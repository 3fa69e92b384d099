"""The shipped comparisons of white-box attacks: their reports follow from their arrays, and none is far off.

Of the single attacks on digits one start decides more images than half a point: there only luck must explain the rest.
"""

import pytest

from sims.peers.white_box_comparison import report
from tests.sims.shipped import folders, reported


@pytest.fixture(params=folders("compare-white-box"), ids=lambda folder: folder.name)
def shipped(request):
    return reported(request.param, report)


def test_the_saved_report_follows_from_the_saved_arrays(shipped):
    _, manifest, again = shipped
    assert manifest["report"] == again


def test_no_final_image_of_ours_is_outside_the_ball(shipped):
    data, _, again = shipped
    assert data.sizes["image"] in (500, 1000)
    assert {row["outside_the_ball"][0] for row in again["rows"]} == {0}


def test_the_two_sides_agree(shipped):
    _, manifest, again = shipped
    far = [row["pair"] for row in again["rows"] if not row["ok"]]
    if manifest["config"]["victim"]["dataset"] == "cifar10":
        assert not far
        return
    assert "ensemble-autoattack" not in far
    assert all(row["interval"][0] <= 0 <= row["interval"][1] for row in again["rows"])
