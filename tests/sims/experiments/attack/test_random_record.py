"""The shipped runs against two random victims: the README's table says what their reports say."""

import json
from typing import Any

from tests.paths import ROOT

VICTIMS = ("gaussian-noise:std=0.1", "patchwise-purifier")
REPORTS = {
    norm: json.loads((ROOT / "figures" / "data" / "random-victims" / norm / "manifest.json").read_text())["report"]
    for norm in ("linf", "l2")
}


def lines() -> list[str]:
    """A line of the README's table per attack: in the ℓ∞ ball, or in the ℓ2 ball where it has no other."""
    linf, l2 = ({row["attack"] for row in REPORTS[norm]["rows"]} for norm in ("linf", "l2"))
    return [line("linf", name) for name in sorted(linf)] + [line("l2", name) for name in sorted(l2 - linf)]


def line(norm: str, attack: str) -> str:
    cells = {row["defense"]: row for row in REPORTS[norm]["rows"] if row["attack"] == attack}
    shares = ("robust_accuracy", "robust_average_of_n", "robust_worst_of_n")
    said = [f"{100 * cells[victim][share]:.0f}" for victim in VICTIMS for share in shares]
    name, undefended = attack + " (ℓ2)" * (norm == "l2"), 100 * cells["none"]["robust_accuracy"]
    return f"| {name} | {undefended:.0f} | {' | '.join(said)} |"


def test_the_readme_has_its_lines():
    readme = (ROOT / "README.md").read_text()
    missing = [line for line in lines() if line not in readme]
    assert not missing, "\n".join(missing)


def test_every_attack_ended_without_an_answer_that_is_no_number():
    rows: list[dict[str, Any]] = [row for report in REPORTS.values() for row in report["rows"]]
    assert {row["non_finite"] for row in rows} == {0}
    assert {row["defense"] for row in rows} == {"none", *VICTIMS}
