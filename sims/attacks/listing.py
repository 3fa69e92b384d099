"""`python -m sims attacks`: the table of attacks, with the settings that may follow a name."""

from json import dumps
from typing import Any

from defenses.commands.tables import print_table, written
from defenses.options.names import defaults
from sims.attacks.table import ATTACKS


def rows() -> list[dict[str, Any]]:
    """A row per attack: name, feedback, norms, targeted, queries_per_step, source.

    Every attack runs targeted too: the oracle turns the goal round, and no attack sees a label.
    """
    return [
        {
            "name": name,
            "feedback": method.feedback,
            "norms": list(method.norms),
            "targeted": True,
            "queries_per_step": method.queries_per_step,
            "source": method.source,
        }
        for name, method in ATTACKS.items()
    ]


def list_attacks(json: bool = False) -> int:
    """Every attack: what it sees, its norms, what a step costs, its settings with their defaults, its source.

    Args:
        json: Print one JSON document and nothing else.
    """
    if json:
        print(dumps(rows()))
        return 0
    title = "attacks; name:setting=value,... changes a setting, average=N averages N answers"
    cells = [
        [
            name,
            method.feedback,
            " ".join(method.norms),
            method.queries_per_step,
            written(defaults(method.settings())),
            method.source,
        ]
        for name, method in ATTACKS.items()
    ]
    print_table(title, ["attack", "sees", "norms", "queries per step", "settings", "source"], cells)
    return 0
