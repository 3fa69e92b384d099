"""The command `evaluate`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from defenses.commands.tables import percent, print_table


@dataclass(frozen=True)
class Evaluate:
    """Measure a classifier's accuracy on held-out images, behind a defence."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Classifier, one of those listed."""
    dataset: str = "digits"
    """Data set whose held-out images are used."""
    defense: str = "none"
    """Defence, one of those listed."""
    seed: int = 0
    """Seed of every draw, at least 0."""
    out: Path = Path("results")
    """Folder of results; weights are read from its folder `models`."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""

    def run(self) -> None:
        """Print the accuracy of a classifier behind a defence on the held-out images."""
        from defenses import zoo
        from defenses.evaluation import accuracy

        key = (self.dataset, self.seed, self.out / "models")
        defense = zoo.entry("defense", zoo.DEFENSES, self.defense)
        classifier = zoo.classifier(self.model, *key)
        measured = accuracy(classifier, defense(*key), zoo.load(self.dataset).test, self.seed)
        names = {"model": self.model, "dataset": self.dataset, "defense": self.defense}
        row = {**names, **measured._asdict()}
        if self.json:
            print(json.dumps(row))
        else:
            cells = [*names.values(), str(measured.images), percent(row)]
            print_table("accuracy on held-out images", [*names, "images", "accuracy"], [cells])
