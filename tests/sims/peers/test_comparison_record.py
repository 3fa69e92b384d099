"""The shipped comparison: its report follows from its arrays, and no peer is better."""

import pytest

from sims.peers.comparison_report import report
from tests.sims.shipped import folders, reported


@pytest.fixture(scope="module", params=folders("compare"), ids=lambda folder: folder.name)
def shipped(request):
    return reported(request.param, report)


def test_the_saved_report_follows_from_the_saved_arrays(shipped):
    _, manifest, again = shipped
    assert manifest["report"] == again


def test_ours_is_no_worse_than_any_public_implementation(shipped):
    data, _, again = shipped
    assert data.sizes["image"] == 200
    assert [row["pair"] for row in again["rows"] if not row["ok"]] == []
