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
    """Classifier, one of those listed, or FILE.py:NAME of your own."""
    dataset: str = "digits"
    """Data set whose held-out images are used, or a FOLDER of PNG or JPEG pictures of your own,
    in class folders or with a label file of lines `picture,class`."""
    resize: str | None = None
    """How pictures of a FOLDER become images, SIZE:CROP[:INTERPOLATION]; without it all must have one size."""
    classes: Path | None = None
    """JSON list of the class names of a FOLDER, in the order of the labels; without it its own names in their order."""
    weights: Path | None = None
    """Weights file: a PyTorch checkpoint or safetensors; by default the published ones, or those trained here."""
    weights_key: str | None = None
    """Which set of weights to take where the file holds several, such as state_dict_ema; else the raw ones."""
    defense: str = "none"
    """Defence, one of those listed with its settings, gaussian-noise:std=0.01, or FILE.py:NAME; + joins several."""
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
        from defenses.data.sources import own_folder
        from defenses.evaluation import accuracy
        from defenses.purifiers.table import read_defense

        jax.config.update("jax_default_matmul_precision", "highest")

        own_folder(self.dataset, self.resize, self.classes)
        chain, choice = read_defense(self.defense), zoo.read_model(self.model)
        folders = Folders(self.out / "models", self.data_dir)
        model, resize, origin = zoo.loaded(choice, self.dataset, self.seed, folders, self.weights, self.weights_key)
        guarded = zoo.guard(chain, self.dataset, self.seed, folders)(model)
        measured = accuracy(guarded, zoo.load(self.dataset, self.data_dir, resize).test, self.seed)
        names = {"model": str(choice), "dataset": self.dataset, "defense": str(chain)}
        row = {**names, **measured._asdict(), "passes": guarded.passes, "weights": dict(origin)}
        if self.json:
            print(json.dumps(row))
        else:
            cells = [*names.values(), str(measured.images), percent(row), f"{measured.images_per_second:,.0f}"]
            print_table("accuracy on held-out images", [*names, "images", "accuracy", "images/s"], [cells])
            for key, value in origin.items():
                print(f"{key}: {value}")
