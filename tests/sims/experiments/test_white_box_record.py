"""The shipped white-box runs: their reports follow from their arrays, and the ensemble beats its members."""

import pytest

from sims.experiments.white_box.report import report
from sims.records.store import read, report_follows
from tests.paths import ROOT
from tests.sims.shipped import DATA

RECORDS = {name: read(DATA / "white-box" / name) for name in ("purifiers", "robust-digits")}
PURIFIERS, ROBUST = (record.manifest["report"]["rows"] for record in RECORDS.values())


@pytest.mark.parametrize("name", RECORDS)
def test_the_saved_report_follows_from_the_saved_arrays(name):
    assert report_follows(RECORDS[name], report)


def test_clean_images_stay_right_and_no_gradient_was_lost():
    assert min(row["clean_average_of_n"] for row in PURIFIERS) >= 0.995
    assert {row["non_finite"] for row in PURIFIERS} == {0}


def left():
    """Robust accuracy of the adversarially trained network, by attack."""
    return {row["attack"]: row["robust_average_of_n"] for row in ROBUST}


def test_the_ensemble_leaves_no_more_than_its_members_and_apgd_no_more_than_pgd():
    assert RECORDS["robust-digits"].manifest["config"]["images"] == 500
    assert left()["ensemble"] <= min(left().values())
    assert left()["apgd-ce"] <= left()["pgd:steps=50"]


def test_the_readme_has_the_members():
    readme = " ".join((ROOT / "sims/peers/README.md").read_text().split())
    names = {
        "pgd:steps=50": "PGD-50",
        "apgd-ce": "APGD-CE",
        "apgd-dlr-targeted": "targeted APGD-DLR",
        "square": "Square",
        "ensemble": "the ensemble",
    }
    absent = [
        text for text in (f"{name} {100 * left()[key]:.1f} %" for key, name in names.items()) if text not in readme
    ]
    assert not absent, absent
