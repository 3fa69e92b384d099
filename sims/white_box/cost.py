"""What an attack costs at most, in forward passes: a gradient goes forward and back and counts as three.

As if every defence were random: a deterministic one is asked and judged once where a random one is for every draw.
"""

from collections.abc import Sequence

from sims.white_box.restarts import runs_of
from sims.white_box.table import is_white_box, parse_white_box

FORWARD_AND_BACK = 3
CLASSES = 10  # or more; with fewer an attack has fewer rivals


def passes(text: str, query_budget: int) -> int:
    """Forward passes for one image that never falls; ValueError for a text that no table knows."""
    return sum(_passes(run.text, query_budget) for run in runs_of(text, CLASSES))


def judgements(texts: Sequence[str]) -> int:
    """How often the images of those attacks are judged by fresh draws: every run's, the clean ones, and the best ones.

    The clean ones are judged as the last candidate of every attack, and once more beside the best ones of all.
    """
    return 1 + sum(len(runs_of(text, CLASSES)) + 2 for text in texts)


def _passes(text: str, query_budget: int) -> int:
    if not is_white_box(text):
        return query_budget
    choice = parse_white_box(text)
    return FORWARD_AND_BACK * choice.method.evaluations(choice.settings) * choice.shared.eot
