"""The shipped white-box runs: README's tables say what their reports say, and the ensemble beats its members."""

import pytest

from sims.experiments.white_box.report import report
from sims.records.store import read, report_follows
from tests.sims.shipped import DATA, README, missing

RECORDS = {name: read(DATA / "white-box" / name) for name in ("purifiers", "robust-digits")}
PURIFIERS, ROBUST = (record.manifest["report"]["rows"] for record in RECORDS.values())
NAMES = {
    "fgsm": "FGSM",
    "pgd:eot=10": "PGD-20, EOT 10",
    "apgd-ce:eot=10": "APGD-CE, EOT 10",
    "pgd:route=around,eot=10": "BPDA: PGD-20 around, EOT 10",
    "pgd:route=blind": "PGD-20 blind to the defence",
}


@pytest.mark.parametrize("name", RECORDS)
def test_the_saved_report_follows_from_the_saved_arrays(name):
    assert report_follows(RECORDS[name], report)


def line(attack: str, name: str) -> str:
    """A line of the table: the average over draws, and in brackets the worst of N where draws differ."""
    cells = []
    for row in (row for row in PURIFIERS if row["attack"] == attack):
        worst = f" ({100 * row['robust_worst_of_n']:.0f})" if row["evaluations"] > 1 else ""
        cells.append(f"{100 * row['robust_average_of_n']:.0f}{worst}")
    return f"| {name} | {' | '.join(cells)} |"


def test_the_readme_has_its_lines():
    absent = missing([line(*pair) for pair in NAMES.items()])
    assert not absent, "\n".join(absent)


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
    readme = " ".join(README.split())
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
