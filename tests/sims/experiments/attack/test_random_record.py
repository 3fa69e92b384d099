"""The shipped runs against two random victims, at full: their reports follow from their arrays."""

import pytest

from sims.experiments.attack.report import report
from sims.records.store import read, report_follows
from tests.paths import SHIPPED

VICTIMS = ("none", "gaussian-noise:std=0.1", "patchwise-purifier")


@pytest.fixture(params=["linf", "l2"])
def record(request):
    return read(SHIPPED / "random-victims" / request.param / "attack" / "digits")


def test_the_saved_report_follows_from_the_saved_arrays(record):
    assert report_follows(record, report)


def test_every_attack_ended_without_an_answer_that_is_no_number(record):
    assert {row["non_finite"] for row in record.manifest["report"]["rows"]} == {0}
    assert {row["defense"] for row in record.manifest["report"]["rows"]} == set(VICTIMS)
    assert record.data.sizes["image"] == 100
