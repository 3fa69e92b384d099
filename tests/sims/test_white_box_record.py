"""The shipped run against the digits' purifiers: README's table says what its report says."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REPORT = json.loads((ROOT / "figures" / "data" / "white-box" / "manifest.json").read_text())["report"]
NAMES = {
    "fgsm": "FGSM",
    "pgd:eot=10": "PGD-20, EOT 10",
    "apgd-ce:eot=10": "APGD-CE, EOT 10",
    "pgd:route=around,eot=10": "BPDA: PGD-20 around, EOT 10",
    "pgd:route=blind": "PGD-20 blind to the defence",
}


def line(attack: str, name: str) -> str:
    """A line of the table: the average over draws, and in brackets the worst of N where draws differ."""
    cells = []
    for row in (row for row in REPORT["rows"] if row["attack"] == attack):
        worst = f" ({100 * row['robust_worst_of_n']:.0f})" if row["evaluations"] > 1 else ""
        cells.append(f"{100 * row['robust_average_of_n']:.0f}{worst}")
    return f"| {name} | {' | '.join(cells)} |"


def test_the_readme_has_its_lines():
    readme = (ROOT / "README.md").read_text()
    missing = [line(*pair) for pair in NAMES.items() if line(*pair) not in readme]
    assert not missing, "\n".join(missing)


def test_clean_images_stay_right_and_no_gradient_was_lost():
    assert min(row["clean_average_of_n"] for row in REPORT["rows"]) >= 0.995
    assert {row["non_finite"] for row in REPORT["rows"]} == {0}
