"""The command `train`."""

import json
from dataclasses import dataclass
from pathlib import Path

from defenses.commands.tables import percent, print_table


@dataclass(frozen=True)
class Train:
    """Train and cache the classifiers and purifiers of a data set."""

    dataset: str = "digits"
    """Data set to train on."""
    seed: int = 0
    """Seed of every draw, at least 0."""
    out: Path = Path("results")
    """Folder of results; weights go to its folder `models`."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""

    def run(self) -> None:
        """Train what is not cached yet and print one table of accuracies and files."""
        from defenses import zoo

        rows = []
        for name, weights_of in zoo.TRAINED.items():
            weights = weights_of(self.dataset, self.seed, self.out / "models")
            measured = weights.card["measured"]
            rows.append({"model": name, **measured, "cached": weights.cached, "file": str(weights.path)})
        if self.json:
            print(json.dumps({"trained": rows}))
            return
        cells = [[row["model"], percent(row), "cached" if row["cached"] else "trained", row["file"]] for row in rows]
        title = f"{self.dataset}, seed {self.seed}: held-out images (purifiers: cnn behind their average)"
        print_table(title, ["model", "accuracy", "state", "file"], cells)
