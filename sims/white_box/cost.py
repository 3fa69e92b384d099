"""What an attack costs at most, in forward passes: a gradient goes forward and back and counts as three."""

from sims.white_box.pursuit import runs_of
from sims.white_box.table import is_white_box, parse_white_box

FORWARD_AND_BACK = 3


def passes(text: str, query_budget: int, classes: int = 10) -> int:
    """Forward passes for one image that never falls; ValueError for a text that no table knows."""
    return sum(_passes(run.text, query_budget) for run in runs_of(text, classes))


def _passes(text: str, query_budget: int) -> int:
    if not is_white_box(text):
        return query_budget
    choice = parse_white_box(text)
    return FORWARD_AND_BACK * choice.method.evaluations(choice.settings) * choice.shared.eot
