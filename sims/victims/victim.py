"""Victims by name: a classifier with its weights behind a defence, and held-out images it gets right."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from defenses import zoo
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.classifier import Classifier
from defenses.classifiers.network import network_classifier, template
from defenses.data.dataset import Split
from defenses.data.normalization import NORMALIZATIONS
from defenses.defense import Defense
from defenses.evaluation import BATCH, predictions
from defenses.files.folders import Folders
from defenses.purifiers.identity import identity
from defenses.weights.file import weights_file

SMALL_NETWORK_RATE = 2e4  # rows per second of the digits networks on two cores
OPERATIONS_PER_SECOND = 1e11  # of convolutions on two cores


@dataclass(frozen=True)
class VictimOptions:
    """Which network is looked at."""

    model: str = "cnn"
    """Classifier, one of those `python -m defenses` lists."""
    dataset: str = "digits"
    """Data set whose held-out images are used."""
    weights: Path | None = None
    """Weights file of the classifier; by default the published ones, or those trained here."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown classifier or data set."""
        zoo.checked("model", zoo.CLASSIFIERS, self.model)
        zoo.checked("dataset", zoo.SOURCES, self.dataset)
        if self.weights is not None and self.model not in ARCHITECTURES:
            raise ValueError(f"weights can be given for {', '.join(ARCHITECTURES)}, not for {self.model}")
        if self.weights is not None and not self.weights.is_file():
            raise ValueError(f"weights must be a file that can be read, got {self.weights}")

    @classmethod
    def saved(cls, options: dict[str, Any]) -> "VictimOptions":
        """The options as a record's manifest has them; ValueError where they name what is not there any more."""
        weights: Any = options.get("weights")
        return cls(options["model"], options["dataset"], None if weights is None else Path(weights))

    @property
    def title(self) -> str:
        """Model and data set, for tables and figures."""
        return f"{self.model} on {self.dataset}"


class Victim(NamedTuple):
    """A classifier, its defences by name, and the held-out images (n, h, w, c) it classifies correctly undefended.

    ids: (n,) their index in the held-out set.
    """

    classifier: Classifier
    defenses: dict[str, Defense]
    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def load_victim(options: VictimOptions, defenses: tuple[str, ...], images: int, folders: Folders, seed: int) -> Victim:
    """The first `images` held-out images that the undefended classifier gets right, with the defences named.

    Raises ValueError for an unknown defence, missing data or weights, or more images than there are.
    """
    classifier = zoo.classifier(options.model, options.dataset, seed, folders, options.weights)
    built = {name: zoo.defense(name, options.dataset, seed, folders) for name in defenses}
    held_out = zoo.load(options.dataset, folders.data, classifier.resize).test
    ids = _correct(classifier, held_out, images, seed)
    if not 1 <= images <= len(ids):
        raise ValueError(
            f"images must be in [1, {len(ids)}], the held-out images {options.model} gets right, got {images}"
        )
    ids = ids[:images]
    return Victim(classifier, built, held_out.images[ids], held_out.labels[ids], ids)


def victim_inputs(config: Any, folders: Folders) -> dict[str, Any]:
    """What an experiment with `config.victim` and `config.seed` reads: weights and data by their hashes.

    The small networks and the purifiers follow from these, the seed and the code. Raises ValueError as `load_victim`.
    """
    options: VictimOptions = config.victim
    weights, resize = {}, None
    if options.model in ARCHITECTURES:
        file = weights_file(options.model, options.dataset, config.seed, folders, options.weights)
        weights, resize = file.origin, file.resize
    labels = zoo.load(options.dataset, folders.data, resize).test.labels
    return {"weights": weights, "held_out_labels": hashlib.sha256(labels.tobytes()).hexdigest()}


def seconds_per_row(options: VictimOptions) -> float:
    """About what one row costs two cores in a forward pass, from the network's operations; reads no weights."""
    shape = zoo.SOURCES[options.dataset].image_shape
    if options.model not in ARCHITECTURES:
        size = math.prod(shape)  # the orthogonal network multiplies by two square matrices, the cnn by a few kernels
        operations = 4 * size**2 if options.model == "orthogonal" else 2000 * size
        return 1 / SMALL_NETWORK_RATE + operations / OPERATIONS_PER_SECOND
    architecture = ARCHITECTURES[options.model]
    params = template(architecture, shape, 10)
    network = network_classifier(options.model, architecture, params, shape, 10, NORMALIZATIONS[options.dataset])
    row = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    analysis = jax.jit(network.logits).lower(params, row).cost_analysis()
    assert analysis is not None  # XLA has one for every backend of this project
    return analysis["flops"] / OPERATIONS_PER_SECOND


def _correct(classifier: Classifier, split: Split, wanted: int, seed: int) -> np.ndarray:
    """Indices of images classified correctly: all of them, or the leading ones once there are `wanted`."""
    found = np.zeros(0, np.int64)
    stride = max(BATCH, wanted + wanted // 4)
    for start in range(0, len(split.images), stride):
        rows = np.arange(start, min(start + stride, len(split.images)))
        predicted, _ = predictions(classifier, identity(), split.images[rows], seed)
        found = np.concatenate([found, rows[predicted == split.labels[rows]]])
        if len(found) >= max(wanted, 1):
            break
    return found
