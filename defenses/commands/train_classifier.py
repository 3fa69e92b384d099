"""The command `train classifier`."""

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from defenses.commands.interruption import resumes_from
from defenses.commands.tables import percent, print_table
from defenses.files.folders import Folders

if TYPE_CHECKING:
    from defenses.training.recipe import Recipe

WHOLE = tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the model's recipe)")
NUMBER = tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: the model's recipe)")


@dataclass(frozen=True)
class TrainClassifier:
    """One classifier on its labels; a stopped run goes on after the last epoch that was kept.

    Unset options follow this project's recipe of the model, after published ones but not the same: 200 epochs,
    WideResNet-28-10 40, Fast-AT 15; batches of 128; Nesterov momentum 0.9, vision transformers AdamW. The state is
    kept after an epoch, every 30 seconds at most. --dry-run says what all of it costs on this machine.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """resnet20, 32, 44, 56, resnet20-fast-at, wide-resnet-28-10, vgg16, vgg16-bn, vit-tiny-16, -small- or -base-."""
    epochs: Annotated[int | None, WHOLE] = None
    """Passes over the training images, at least 1."""
    batch_size: Annotated[int | None, WHOLE] = None
    """Images per step, at least 1."""
    learning_rate: Annotated[float | None, NUMBER] = None
    """Highest learning rate, > 0."""
    adversarial_epsilon: Annotated[
        float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: clean images)")
    ] = None
    """Train on images of a PGD adversary (10 steps) within this l-infinity distance, in units of 1/255: 8 is usual.
    resnet20-fast-at learns from images of one step of 10/255 within 8/255, from a random start, without it."""
    dry_run: bool = False
    """Only say what it would cost: steps, time, operations, memory; one step is compiled and tried."""

    def run(self, dataset: str, seed: int, folders: Folders, as_json: bool) -> None:
        """Check everything, then train, or read what was trained before, or say what it would cost."""
        from defenses.classifiers.learning import learning
        from defenses.data.sources import load
        from defenses.training.cost import cost
        from defenses.weights.trained import training_folder
        from defenses.weights.trained_classifier import identity_of, network_for, trained_classifier
        from defenses.zoo import checked_seed

        recipe = self._recipe(dataset)
        data = load(dataset, folders.data)
        network = network_for(self.model, data)
        names = {"model": self.model, "dataset": dataset, "seed": checked_seed(seed)}
        if self.dry_run:
            _print_cost(names | cost(learning(network, recipe, data, seed))._asdict(), as_json)
            return
        resumes_from(training_folder(identity_of(network, recipe, data, seed), folders.models))
        weights = trained_classifier(network, recipe, data, seed, folders.models)
        row = {
            **names,
            **weights.card["measured"],
            **weights.card.get("training", {}),
            "cached": weights.cached,
            "file": str(weights.path),
        }
        _print_result(row, as_json)

    def _recipe(self, dataset: str) -> "Recipe":
        from defenses.classifiers.architectures import recipe_for
        from defenses.training.adversarial import adversary

        given = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate")}
        recipe = replace(recipe_for(self.model, dataset), **{k: v for k, v in given.items() if v is not None})
        if self.adversarial_epsilon is None:
            return recipe
        return replace(recipe, adversary=adversary(self.adversarial_epsilon))


def _print_result(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"trained": [row]}))
        return
    columns = ["model", "dataset", f"accuracy, {row['images']:,} images", "state", "file"]
    cells = [row["model"], row["dataset"], percent(row), "cached" if row["cached"] else "trained", row["file"]]
    if "robust" in row:
        robust = row["robust"]
        count = f"{robust['images']:,} of {robust['drawn_from']:,} images, drawn at random"
        columns.insert(3, f"under PGD-{robust['steps']}, {count}")
        cells.insert(3, percent(robust))
    print_table(f"seed {row['seed']}: held-out images", columns, [cells])


def _print_cost(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cost": row}))
        return
    columns = ["steps", "operations", "s/step here", "time here", "memory", "device"]
    cells = [
        f"{row['steps']:,}",
        "unknown" if row["operations"] is None else f"{row['operations']:.1e}",
        f"{row['seconds_per_step']:.3g}",
        f"{row['seconds'] / 3600:.2f} h",
        f"{row['memory'] / 2**30:.2f} GiB",
        f"{row['device']}, {row['precision']}",
    ]
    print_table(f"{row['model']} on {row['dataset']}, nothing trained", columns, [cells])
