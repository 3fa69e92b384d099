"""Which file holds the weights of a network, and what the network expects in front of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from defenses.classifiers.architectures import is_trainable
from defenses.data.normalization import NORMALIZATIONS, UNCHANGED, Normalization, checked
from defenses.data.sources import image_shape
from defenses.files.checkpoint import read_chosen
from defenses.files.checkpoint_parts.shards import digest
from defenses.files.checkpoint_parts.wrappers import Arrays, normalizer
from defenses.files.folders import Folders
from defenses.files.resize import Resize
from defenses.weights.cached import card_path
from defenses.weights.card import Card, read_card
from defenses.weights.published import PUBLISHED, Published
from defenses.weights.shipped import shipped

AGREED = 1e-6  # how near the normalisation of a card is to that of its file: float32 against decimals


class WeightsFile(NamedTuple):
    """path, sha256: the file and the hash of its content. normalization, resize: what stands before the network.

    stated: whether its publisher, the file or its card says the normalisation; else it is the data set's own.
    resize is None where images come in their shape. labels: the classes in the order of the network's scores, None for
    the data set's. key: of the set of weights in the file. others: the keys of the other sets that it holds.
    """

    path: Path
    sha256: str
    normalization: Normalization
    stated: bool
    resize: Resize | None
    labels: tuple[str, ...] | None = None
    key: str | None = None
    others: tuple[str, ...] = ()

    @property
    def origin(self) -> dict[str, str]:
        """In words: the file's name and hash, its normalisation, and what else was chosen: resizing, labels, key."""
        words = {"file": self.path.name, "sha256": self.sha256, "normalization": _words(self.normalization)}
        words |= {} if self.resize is None else {"resize": _words(self.resize)}
        words |= {} if self.labels is None else {"labels": ", ".join(self.labels)}
        return words | ({"key": str(self.key)} if self.others else {})


def weights_file(
    name: str, dataset: str, seed: int, folders: Folders, weights: Path | None, key: str | None = None
) -> WeightsFile:
    """The file `weights`; without it the published one in `folders.data`/weights, the shipped one, or one trained here.

    key: of the set of weights, where the file holds several; None for the one that `weight_sets.chosen` takes.
    A published file is known by its hash and brings its own normalisation and resizing. Any other is normalised as it
    says itself (`wrappers.normalizer`), else as the card beside it says, `<name>.json`, else by the data set's own
    mean and standard deviation; the card's resizing and labels count too, else 256 → 224 bilinear for picture files
    and the data set's order of classes. README.md beside this file describes the card. Raises ValueError when there is
    no such file, when its hash is not the published one or the card's, when the card can't be read, is of another
    model or data set or says another normalisation than the file, and as `read_chosen` does.
    """
    path = _found(name, dataset, seed, folders) if weights is None else Path(weights)
    sha256, channels = _digest(path), image_shape(dataset)[-1]
    entry = _entry(path, sha256)
    if entry is not None:
        found = read_chosen(path, entry.sha256, key)
        return WeightsFile(path, sha256, entry.normalization, True, entry.resize, None, found.key, found.others)
    card = read_card(path, channels)
    for field, said, expected in (("model", card.model, name), ("dataset", card.dataset, dataset)):
        if said not in ("", expected):
            raise ValueError(f"{path} must be weights of {field} {expected}, its card says {said!r}")
    arrays, used, others = read_chosen(path, card.sha256, key)
    stated = _normalization(path, arrays, card, channels)
    normalization = stated or NORMALIZATIONS.get(dataset, UNCHANGED[channels])
    resize = card.resize or (Resize() if dataset == "imagenet" else None)
    return WeightsFile(path, sha256, normalization, stated is not None, resize, card.labels, used, others)


def _normalization(path: Path, arrays: Arrays, card: Card, channels: int) -> Normalization | None:
    """What the file and its card say of the normalisation, None where neither does."""
    try:
        inside = _inside(arrays, channels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if inside is None or card.normalization is None:
        return inside or card.normalization
    if not np.allclose(inside, card.normalization, rtol=0, atol=AGREED):
        said = f"{card_path(path)} says {_words(card.normalization)}"
        raise ValueError(f"{said}, the weights themselves hold {_words(inside)}: take it off the card, or put it right")
    return inside


def _inside(arrays: Arrays, channels: int) -> Normalization | None:
    """The normalisation that a wrapper keeps beside the network's arrays; one number counts for all channels."""
    names = normalizer(arrays)
    if names is None:
        return None
    mean, std = (_numbers(name, arrays[name], channels) for name in names)
    return checked(Normalization(mean, std), channels)


def _numbers(name: str, array: np.ndarray, channels: int) -> tuple[float, ...]:
    """The array's numbers as they are written: 0.485 for the float32 next to it."""
    if array.size not in (1, channels):
        raise ValueError(f"normalization needs 1 or {channels} numbers in {name}, got shape {array.shape}")
    numbers = tuple(float(str(number)) for number in array.ravel())
    return numbers * channels if len(numbers) == 1 else numbers


def _found(name: str, dataset: str, seed: int, folders: Folders) -> Path:
    published = [p for p in PUBLISHED if (p.model, p.dataset) == (name, dataset)]
    for entry in published:
        if (folders.data / "weights" / entry.file).is_file():
            return folders.data / "weights" / entry.file
    ours = shipped(name, dataset)
    if ours is not None:
        return ours
    trainable = is_trainable(name, dataset)
    trained = sorted(folders.models.glob(f"{dataset}-{name}-seed{seed}-*.safetensors")) if trainable else []
    if len(trained) == 1:
        return trained[0]
    if trained:
        raise ValueError(f"weights must be one of {', '.join(map(str, trained))}: choose with --weights")
    ways = [f"python -m defenses data fetch {p.file} --data-dir {folders.data}" for p in published if p.address][:1]
    if trainable:
        out = folders.models.parent
        ways.append(f"python -m defenses train classifier {name} --dataset {dataset} --seed {seed} --out {out}")
    raise ValueError(
        f"no weights of {name} for {dataset} in {folders.data / 'weights'} or {folders.models}; "
        f"run {' or '.join([*ways, 'again with --weights'])}"
    )


def _digest(path: Path) -> str:
    try:
        if not path.is_file():
            raise ValueError(f"weights must be a file that can be read, got {path} (no regular file)")
        return digest(path)
    except OSError as error:
        raise ValueError(f"weights must be a file that can be read, got {path} ({error.strerror})") from error


def _entry(path: Path, digest: str) -> Published | None:
    """What is known of a published file: by its hash, else by its name (whose hash is then found wrong)."""
    known = [entry for entry in PUBLISHED if digest.startswith(entry.sha256)]
    return next(iter(known + [entry for entry in PUBLISHED if entry.file == path.name]), None)


def _words(record: NamedTuple) -> str:
    return ", ".join(f"{name} {value}" for name, value in record._asdict().items())
