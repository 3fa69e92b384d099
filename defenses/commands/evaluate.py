"""The command `evaluate`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from defenses.commands.tables import percent, print_table
from defenses.files.folders import Folders, data_folder


@dataclass(frozen=True)
class Evaluate:
    """Measure a classifier's accuracy on held-out images, behind a defence."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Classifier, one of those listed."""
    dataset: str = "digits"
    """Data set whose held-out images are used."""
    weights: Path | None = None
    """Weights file: a PyTorch checkpoint or safetensors; by default the published ones, or those trained here."""
    defense: str = "none"
    """Defence, one of those listed; gaussian-noise:0.01 sets its standard deviation."""
    seed: int = 0
    """Seed of every draw, at least 0."""
    data_dir: Path = field(default_factory=data_folder)
    """Folder of data sets and published weights; $PUREBOUND_DATA changes the default."""
    out: Path = Path("results")
    """Folder of results; weights trained here are read from its folder `models`."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""

    def run(self) -> None:
        """Print the accuracy of a classifier behind a defence on the held-out images, and the forward rate."""
        import jax

        from defenses import zoo
        from defenses.evaluation import accuracy

        jax.config.update("jax_default_matmul_precision", "highest")

        zoo.check_defense(self.defense)
        folders = Folders(self.out / "models", self.data_dir)
        classifier = zoo.classifier(self.model, self.dataset, self.seed, folders, self.weights)
        defense = zoo.defense(self.defense, self.dataset, self.seed, folders)
        data = zoo.load(self.dataset, self.data_dir, classifier.resize)
        measured = accuracy(classifier, defense, data.test, self.seed)
        names = {"model": self.model, "dataset": self.dataset, "defense": self.defense}
        row = {**names, **measured._asdict(), "weights": dict(classifier.origin)}
        if self.json:
            print(json.dumps(row))
        else:
            cells = [*names.values(), str(measured.images), percent(row), f"{measured.images_per_second:,.0f}"]
            print_table("accuracy on held-out images", [*names, "images", "accuracy", "images/s"], [cells])
            for key, value in classifier.origin.items():
                print(f"{key}: {value}")
