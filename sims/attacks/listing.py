"""`python -m sims attacks`: the table of attacks, with the settings that may follow a name."""

import sys
from json import dumps
from typing import Any

from rich.console import Console
from rich.table import Table

from defenses.names import defaults
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


def settings(name: str) -> dict[str, Any]:
    """Defaults of the attack's own settings, by name."""
    return defaults(ATTACKS[name].settings())


def list_attacks(json: bool = False) -> int:
    """Every attack: what it sees, its norms, what a step costs, its settings with their defaults, its source.

    Args:
        json: Print one JSON document and nothing else.
    """
    if not json:
        return _print_table()
    print(dumps(rows()))
    return 0


def _print_table() -> int:
    table = Table(title="attacks; name:setting=value,... changes a setting, average=N averages N answers")
    for column in ("attack", "sees", "norms", "queries per step", "settings", "source"):
        table.add_column(column, overflow="fold")
    for row in rows():
        own = ", ".join(f"{key}={value}" for key, value in settings(row["name"]).items())
        shown = (row["name"], row["feedback"], " ".join(row["norms"]), row["queries_per_step"], own, row["source"])
        table.add_row(*shown)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0
