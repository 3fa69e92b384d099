"""The command `list`."""

import json
from dataclasses import dataclass
from typing import Any

from defenses.commands.tables import print_table, written


@dataclass(frozen=True)
class List:
    """List classifiers, defences with their settings, and data sets."""

    json: bool = False
    """Print one JSON document on stdout and nothing else."""

    def run(self) -> None:
        """Print what is in the tables."""
        from defenses import zoo

        if self.json:
            names = {"classifiers": list(zoo.CLASSIFIERS), "defenses": _defenses(), "datasets": list(zoo.SOURCES)}
            print(json.dumps(names))
            return
        for title, table in (("classifiers", zoo.CLASSIFIERS), ("datasets", zoo.SOURCES)):
            print(f"{title}: {', '.join(table)}")
        rows = [
            [row["name"], "yes" if row["randomized"] else "", row["passes"], written(row["settings"]), row["source"]]
            for row in _defenses()
        ]
        title = "defences; name:setting=value,... changes a setting, + puts one before the other, FILE.py:NAME is yours"
        print_table(title, ["defence", "random", "passes", "settings", "source"], rows)


def _defenses() -> list[dict[str, Any]]:
    """A row per defence: name, settings with their defaults, whether it is random, its passes, its source."""
    from defenses.options.names import defaults
    from defenses.purifiers.table import DEFENSES

    return [
        {
            "name": name,
            "settings": defaults(method.settings()),
            "randomized": method.randomized,
            "trained": method.train is not None,
            "passes": method.passes,
            "source": method.source,
        }
        for name, method in DEFENSES.items()
    ]
