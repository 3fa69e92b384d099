"""Networks whose weights come from a file: published ones, or those trained here before."""

from pathlib import Path

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.classifier import Classifier
from defenses.classifiers.network import network_classifier
from defenses.data.sources import load
from defenses.files.folders import Folders
from defenses.weights.file import weights_file
from defenses.weights.loading import load_checkpoint


def pretrained(name: str, dataset: str, seed: int, folders: Folders, weights: Path | None) -> Classifier:
    """The architecture `name` with the weights of `weights_file`, for the images of `dataset`.

    Raises ValueError as `weights_file`, `load` and `load_checkpoint` do.
    """
    file = weights_file(name, dataset, seed, folders, weights)
    data, architecture = load(dataset, folders.data, file.resize), ARCHITECTURES[name]
    params = load_checkpoint(file.path, architecture, data.image_shape, len(data.classes), file.sha256)
    built = network_classifier(name, architecture, params, data.image_shape, len(data.classes), file.normalization)
    return built._replace(resize=file.resize, origin=file.origin)
