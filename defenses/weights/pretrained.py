"""Networks whose weights come from a file: published ones, or those trained here before."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.classifier import Classifier
from defenses.classifiers.inside import Logits
from defenses.classifiers.network import network_classifier
from defenses.data.sources import load
from defenses.files.folders import Folders
from defenses.weights.cached import card_path
from defenses.weights.file import WeightsFile, weights_file
from defenses.weights.loading import load_checkpoint


def pretrained(
    name: str, dataset: str, seed: int, folders: Folders, weights: Path | None, key: str | None = None
) -> Classifier:
    """The architecture `name` with the weights of `weights_file`, for the images of `dataset`.

    On stderr is said which set of weights is used where the file holds several, and the normalisation where nobody
    stated it.
    Raises ValueError as `weights_file`, `load` and `load_checkpoint` do, and for labels that are not the data set's.
    """
    file = weights_file(name, dataset, seed, folders, weights, key)
    data, architecture = load(dataset, folders.data, file.resize), ARCHITECTURES[name]
    params = load_checkpoint(file.path, architecture, data.image_shape, len(data.classes), file.sha256, file.key)
    _say_assumed(file, dataset)
    built = network_classifier(name, architecture, params, data.image_shape, len(data.classes), file.normalization)
    return _in_order(built, file, data.classes)._replace(resize=file.resize, origin=file.origin)


def _say_assumed(file: WeightsFile, dataset: str) -> None:
    """What was taken for granted about the file."""
    if file.others:
        others = ", ".join(file.others)
        print(
            f"weights: {file.key} of {file.path.name}; --weights-key chooses one of {others} instead", file=sys.stderr
        )
    if not file.stated:
        card = f"{card_path(file.path).name} beside it changes that"
        print(f"normalization: {file.path.name} states none, that of {dataset} is taken; {card}", file=sys.stderr)


def _in_order(built: Classifier, file: WeightsFile, classes: Sequence[str]) -> Classifier:
    """The classifier with its scores in the order of the data set's classes, where the card says another."""
    if file.labels is None:
        return built
    if sorted(file.labels) != sorted(classes):
        strange = next((name for name in file.labels if name not in classes), f"{len(file.labels)} names")
        raise ValueError(
            f"{card_path(file.path)}: labels must be {', '.join(classes):.200} in any order, got {strange}"
        )
    order = np.array([file.labels.index(name) for name in classes])

    def ordered(logits: Logits) -> Logits:
        return lambda params, images: logits(params, images)[:, order]

    hook = built.inside._replace(changed=lambda name, change: ordered(built.inside.changed(name, change)))
    return built._replace(logits=ordered(built.logits), inside=hook)
