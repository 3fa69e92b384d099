"""Networks whose weights come from a file: published ones, or those trained here before."""

import hashlib
from pathlib import Path

from defenses.checkpoints.loading import load_checkpoint
from defenses.checkpoints.published import PUBLISHED, Published
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.classifier import Classifier
from defenses.classifiers.network import network_classifier
from defenses.classifiers.normalization import NORMALIZATIONS
from defenses.data.sources import load
from defenses.folders import Folders


def pretrained(name: str, dataset: str, seed: int, folders: Folders, weights: Path | None) -> Classifier:
    """The architecture `name` with the weights in the file `weights`, for the images of `dataset`.

    Without a file: the published weights in `folders.data`/weights, else the only ones in `folders.models` that were
    trained on the data set from `seed`. A published file is known by its hash, and brings its own normalisation and
    resizing. Raises ValueError when there is no such file, or for one that is damaged or foreign.
    """
    path = _found(name, dataset, seed, folders) if weights is None else Path(weights)
    digest = _digest(path)
    entry = _entry(path, digest)
    data = load(dataset, folders.data, entry.resize if entry else None)
    architecture, expected = ARCHITECTURES[name], entry.sha256 if entry else ""
    params = load_checkpoint(path, architecture, data.image_shape, len(data.classes), expected)
    normalization = entry.normalization if entry else NORMALIZATIONS[dataset]
    built = network_classifier(name, architecture, params, data.image_shape, len(data.classes), normalization)
    return built._replace(resize=entry.resize if entry else None, origin={"file": path.name, "sha256": digest})


def _found(name: str, dataset: str, seed: int, folders: Folders) -> Path:
    published = [p for p in PUBLISHED if (p.model, p.dataset) == (name, dataset)]
    for entry in published:
        if (folders.data / "weights" / entry.file).is_file():
            return folders.data / "weights" / entry.file
    trained = sorted(folders.models.glob(f"{dataset}-{name}-seed{seed}-*.safetensors"))
    if len(trained) == 1:
        return trained[0]
    if trained:
        raise ValueError(f"weights must be one of {', '.join(map(str, trained))}: choose with --weights")
    fetch = [f"python -m defenses data fetch {p.file}" for p in published if p.address]
    commands = [*fetch[:1], f"python -m defenses train classifier {name} --dataset {dataset} --seed {seed}"]
    raise ValueError(
        f"no weights of {name} for {dataset} in {folders.data / 'weights'} or {folders.models}; "
        f"run {' or '.join(commands)}, or give --weights"
    )


def _digest(path: Path) -> str:
    try:
        if not path.is_file():
            raise ValueError(f"weights must be a file that can be read, got {path} (no regular file)")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"weights must be a file that can be read, got {path} ({error.strerror})") from error


def _entry(path: Path, digest: str) -> Published | None:
    """What is known of a published file: by its hash, else by its name (whose hash is then found wrong)."""
    known = [entry for entry in PUBLISHED if digest.startswith(entry.sha256)]
    return next(iter(known + [entry for entry in PUBLISHED if entry.file == path.name]), None)
