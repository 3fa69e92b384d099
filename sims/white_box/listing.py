"""`python -m sims white-box-attacks`: the table of white-box attacks, with the settings that may follow a name."""

from json import dumps
from typing import Any

from defenses.commands.tables import print_table, written
from defenses.options.names import defaults
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
    title = (
        f"white-box attacks; name:setting=value,... changes a setting; all of them take {written(defaults(Shared()))}"
    )
    cells = [
        [row["name"], " ".join(row["norms"]), str(row["evaluations"]), written(row["settings"]), row["source"]]
        for row in rows()
    ]
    cells.append(["ensemble", "linf l2", "", "", f"{', '.join(ENSEMBLE)}, then {LAST}: AutoAttack without FAB"])
    print_table(title, ["attack", "norms", "gradients", "settings", "source"], cells)
    return 0
