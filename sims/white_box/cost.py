"""What an attack costs at most, in forward passes: a gradient goes forward and back and counts as three.

As if every defence were random: a deterministic one is asked and judged once where a random one is for every draw.
"""

from collections.abc import Sequence

from defenses.options.names import Choice
from sims.white_box.restarts import runs_of
from sims.white_box.table import is_white_box

FORWARD_AND_BACK = 3
CLASSES = 10  # or more; with fewer an attack has fewer rivals


def passes(choice: Choice, query_budget: int) -> int:
    """Forward passes for one image that never falls."""
    return sum(_passes(run.choice, query_budget) for run in runs_of(choice, CLASSES))


def judgements(choices: Sequence[Choice]) -> int:
    """How often the images of those attacks are judged by fresh draws: every run's, the clean ones, and the best ones.

    The clean ones are judged as the last candidate of every attack, and once more beside the best ones of all.
    """
    return 1 + sum(len(runs_of(choice, CLASSES)) + 2 for choice in choices)


def _passes(choice: Choice, query_budget: int) -> int:
    if not is_white_box(choice):
        return query_budget
    return FORWARD_AND_BACK * choice.row.evaluations(choice.settings) * choice.shared.eot
