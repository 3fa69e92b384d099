"""Which file holds the weights of a network, and what the network expects in front of it."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from defenses.data.normalization import NORMALIZATIONS, UNCHANGED, Normalization
from defenses.data.sources import image_shape
from defenses.files.folders import Folders
from defenses.files.resize import Resize
from defenses.training.recipe import AUGMENTATION_OF, RECIPES
from defenses.weights.cached import card_path
from defenses.weights.published import PUBLISHED, Published


class WeightsFile(NamedTuple):
    """path, sha256: the file and the hash of its content. normalization, resize: what stands before the network.

    resize is None where images come in their shape.
    """

    path: Path
    sha256: str
    normalization: Normalization
    resize: Resize | None

    @property
    def origin(self) -> dict[str, str]:
        """The file's name and hash, its normalisation and its resizing, in words."""
        words = {"file": self.path.name, "sha256": self.sha256, "normalization": _words(self.normalization)}
        return words | ({} if self.resize is None else {"resize": _words(self.resize)})


def weights_file(name: str, dataset: str, seed: int, folders: Folders, weights: Path | None) -> WeightsFile:
    """The file `weights`; without it the published one in `folders.data`/weights, else the one trained here.

    A published file is known by its hash and brings its own normalisation and resizing. Any other has those of the
    card beside it, `<name>.json` with {"normalization": {"mean": […], "std": […]}, "resize": {"size": 256, "crop":
    224, "interpolation": "bicubic"}}, else the data set's own mean and standard deviation, and 256 → 224 bilinear for
    picture files. Raises ValueError when there is no such file, when its hash is not the published one or the card's,
    or when the card is of another model or data set, or can't be read.
    """
    path = _found(name, dataset, seed, folders) if weights is None else Path(weights)
    digest = _digest(path)
    entry = _entry(path, digest)
    if entry is not None:
        _check_hash(path, digest, entry.sha256)
        return WeightsFile(path, digest, entry.normalization, entry.resize)
    card = _card(path)
    _check_hash(path, digest, str(card.get("sha256", "")))
    for key, expected in (("model", name), ("dataset", dataset)):
        if card.get(key, expected) != expected:
            raise ValueError(f"{path} must be weights of {key} {expected}, its card says {card[key]!r}")
    return WeightsFile(path, digest, *_front(path, card, dataset))


def _found(name: str, dataset: str, seed: int, folders: Folders) -> Path:
    published = [p for p in PUBLISHED if (p.model, p.dataset) == (name, dataset)]
    for entry in published:
        if (folders.data / "weights" / entry.file).is_file():
            return folders.data / "weights" / entry.file
    trainable = name in RECIPES and dataset in AUGMENTATION_OF
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
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"weights must be a file that can be read, got {path} ({error.strerror})") from error


def _entry(path: Path, digest: str) -> Published | None:
    """What is known of a published file: by its hash, else by its name (whose hash is then found wrong)."""
    known = [entry for entry in PUBLISHED if digest.startswith(entry.sha256)]
    return next(iter(known + [entry for entry in PUBLISHED if entry.file == path.name]), None)


def _check_hash(path: Path, digest: str, expected: str) -> None:
    if not digest.startswith(expected):
        raise ValueError(f"{path} is altered: expected the sha256 {expected}, got {digest}")


def _card(path: Path) -> dict[str, Any]:
    card = card_path(path)
    if not card.is_file():
        return {}
    try:
        content = json.loads(card.read_text())
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{card} must be the card of {path.name}, as JSON: {error}") from error


def _front(path: Path, card: dict[str, Any], dataset: str) -> tuple[Normalization, Resize | None]:
    """Normalisation and resizing that a card asks for, where it does, else the data set's."""
    given = {**card.get("measured", {}), **card}
    normalization = NORMALIZATIONS.get(dataset, UNCHANGED[image_shape(dataset)[-1]])
    resize = Resize() if dataset == "imagenet" else None
    try:
        if "normalization" in given:
            mean, std = (tuple(map(float, given["normalization"][key])) for key in ("mean", "std"))
            if len(mean) != len(std) or len(mean) != len(normalization.mean) or not min(std) > 0:
                raise ValueError(f"normalization needs {len(normalization.mean)} means and as many std > 0")
            normalization = Normalization(mean, std)
        if given.get("resize") is not None:
            resize = Resize(**given["resize"])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{card_path(path)} must hold a normalization and a resize as documented: {error}") from error
    return normalization, resize


def _words(record: NamedTuple) -> str:
    return ", ".join(f"{name} {value}" for name, value in record._asdict().items())
