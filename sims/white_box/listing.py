"""`python -m sims white-box-attacks`: the table of white-box attacks, with the settings that may follow a name."""

import sys
from json import dumps
from typing import Any

from rich.console import Console
from rich.table import Table

from defenses.names import defaults
from sims.attacks.method import Method
from sims.white_box.table import ENSEMBLE, LAST, WHITE_BOX, Shared


def rows() -> list[dict[str, Any]]:
    """A row per attack: name, feedback, norms, gradients of one run, its own settings with defaults, source."""
    return [
        {
            "name": name,
            "feedback": "gradient",
            "norms": ["linf", "l2"],
            "evaluations": _evaluations(method),
            "settings": defaults(method.settings()),
            "source": method.source,
        }
        for name, method in WHITE_BOX.items()
    ]


def _evaluations(method: Method) -> int:
    """Gradients of one run at the default settings, over all its rivals."""
    assert method.evaluations is not None
    return method.evaluations(method.settings()) * method.rivals(method.settings())


def list_white_box(json: bool = False) -> int:
    """Every white-box attack: what it costs at its defaults, its settings, its source; and what all of them share.

    Args:
        json: Print one JSON document and nothing else.
    """
    if json:
        print(dumps(rows()))
        return 0
    shared = ", ".join(f"{key}={value}" for key, value in defaults(Shared()).items())
    table = Table(title=f"white-box attacks; name:setting=value,... changes a setting; all of them take {shared}")
    for column in ("attack", "norms", "gradients", "settings", "source"):
        table.add_column(column, overflow="fold")
    for row in rows():
        own = ", ".join(f"{key}={value}" for key, value in row["settings"].items())
        table.add_row(row["name"], " ".join(row["norms"]), str(row["evaluations"]), own, row["source"])
    table.add_row("ensemble", "linf l2", "", "", f"{', '.join(ENSEMBLE)}, then {LAST}: AutoAttack without FAB")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0
