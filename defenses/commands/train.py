"""The command `train`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from defenses.commands.tables import percent, print_table
from defenses.commands.train_classifier import TrainClassifier
from defenses.files.folders import Folders, data_folder


@dataclass(frozen=True)
class TrainDefaults:
    """Every classifier and purifier of the embedded default: seconds each on the digits.

    Larger images take far longer: on CIFAR-10 the orthogonal network alone, whose layers are 3072 x 3072 matrices,
    trains for more than an hour on two CPU cores.
    """

    def run(self, dataset: str, seed: int, folders: Folders, as_json: bool) -> None:
        """Train what is not cached yet and print one table of accuracies and files."""
        from defenses import zoo

        data, rows = zoo.load(dataset, folders.data), []
        for name, weights_of in zoo.TRAINED.items():
            weights = weights_of(data, zoo.checked_seed(seed), folders)
            measured = weights.card["measured"]
            rows.append({"model": name, **measured, "cached": weights.cached, "file": str(weights.path)})
        if as_json:
            print(json.dumps({"trained": rows}))
            return
        cells = [[row["model"], percent(row), "cached" if row["cached"] else "trained", row["file"]] for row in rows]
        title = f"{dataset}, seed {seed}: held-out images (purifiers: a classifier behind their average)"
        print_table(title, ["model", "accuracy", "state", "file"], cells)


@tyro.conf.configure(
    tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes
)  # options may stand before or after the subcommand
@dataclass(frozen=True)
class Train:
    """Train and cache: the embedded default's models, or `classifier MODEL` on any data set."""

    what: (
        Annotated[TrainDefaults, tyro.conf.subcommand("defaults")]
        | Annotated[TrainClassifier, tyro.conf.subcommand("classifier")]
    ) = field(default_factory=TrainDefaults)
    dataset: str = "digits"
    """Data set to train on."""
    seed: int = 0
    """Seed of every draw, at least 0."""
    data_dir: Path = field(default_factory=data_folder)
    """Folder of data sets; $PUREBOUND_DATA changes the default."""
    out: Path = Path("results")
    """Folder of results; weights go to its folder `models`."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""

    def run(self) -> None:
        """Train what was asked for."""
        self.what.run(self.dataset, self.seed, Folders(self.out / "models", self.data_dir), self.json)
