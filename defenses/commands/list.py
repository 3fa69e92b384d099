"""The command `list`."""

import json
from dataclasses import dataclass

from defenses.commands.tables import print_table


@dataclass(frozen=True)
class List:
    """List classifiers, defences and data sets."""

    json: bool = False
    """Print one JSON document on stdout and nothing else."""

    def run(self) -> None:
        """Print the names in the zoo's tables."""
        from defenses import zoo

        tables = {"classifiers": zoo.CLASSIFIERS, "defenses": zoo.DEFENSES, "datasets": zoo.SOURCES}
        names = {title: list(table) for title, table in tables.items()}
        if self.json:
            print(json.dumps(names))
        else:
            print_table("purebound defenses", ["table", "names"], [[t, ", ".join(n)] for t, n in names.items()])
