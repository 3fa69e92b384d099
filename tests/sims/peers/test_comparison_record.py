"""The shipped comparison: the README's table says what its records say, and the issue's verdicts follow from them."""

from typing import Any

import pytest

from sims.peers.comparison_report import report
from tests.sims.shipped import folders, missing, reported


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


def test_the_readme_has_its_lines(shipped):
    _, _, again = shipped
    absent = missing(lines(again))
    assert not absent, "\n".join(absent)


def lines(again: dict[str, Any]) -> list[str]:
    """A line of the README's table per pair."""
    costs, times = ({row["pair"]: row for row in again[name]} for name in ("costs", "times"))
    batches = {row["pair"]: row for row in again["batches"]}
    return [line(row, costs[row["pair"]], times[row["pair"]], batches.get(row["pair"])) for row in again["rows"]]


def line(row: dict[str, Any], cost: dict[str, Any], time: dict[str, Any], batch: dict[str, Any] | None) -> str:
    robust = row["measure"] == "robust accuracy"

    def amount(value: float) -> str:
        return f"{100 * value:.1f} %" if robust else f"{value:.2f}"

    scale, sign = (100, "+") if robust else (1, "")
    value, low, high = (f"{scale * x:{sign}.{1 if robust else 2}f}" for x in (row["value"], *row["interval"]))
    forwarded = f"{cost['forwarded_ours']:.0f} / {cost['forwarded_theirs']:.0f}"
    seconds = f"{time['processor_ours']:.0f} / {time['processor_theirs']:.0f}"
    gap = f"{amount(batch['theirs_alone'])} → {amount(batch['theirs_together'])}" if batch else "–"
    cells = [row["pair"], amount(row["ours"]), amount(row["theirs"]), f"{value} [{low}, {high}]"]
    return f"| {' | '.join([*cells, forwarded, seconds, gap])} |"
