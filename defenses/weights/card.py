"""The card of a weights file: what its publisher or its user says of it, as JSON beside it (see README.md here)."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from defenses.data.normalization import Normalization, checked
from defenses.files.resize import Resize
from defenses.files.resize import checked as checked_resize
from defenses.weights.cached import card_path


class Card(NamedTuple):
    """sha256, model, dataset: what the weights must be and be for, "" where the card does not say.

    normalization, resize: what stands before the network. labels: its classes in the order of its scores. None where
    the card does not say.
    """

    sha256: str = ""
    model: str = ""
    dataset: str = ""
    normalization: Normalization | None = None
    resize: Resize | None = None
    labels: tuple[str, ...] | None = None


def read_card(path: Path, channels: int) -> Card:
    """The card beside the weights file `path`, empty where there is none; a card of ours is read like a user's.

    channels: of the images. Raises ValueError that names the card for one that is not as README.md describes.
    """
    place = card_path(path)
    if not place.is_file():
        return Card()
    try:
        content = json.loads(place.read_text())
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{place} must be the card of {path.name}, as JSON: {error}") from error
    try:
        return _card({**content.get("measured", {}), **content}, channels)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{place} must be as defenses/weights/README.md says: {error}") from error


def _card(said: dict[str, Any], channels: int) -> Card:
    sha256, model, dataset = (str(said.get(name, "")) for name in ("sha256", "model", "dataset"))
    normalization, resize, labels = (said.get(name) for name in ("normalization", "resize", "labels"))
    return Card(
        sha256,
        model,
        dataset,
        None if normalization is None else _normalization(normalization, channels),
        None if resize is None else _resize(resize),
        None if labels is None else _labels(labels),
    )


def _normalization(said: Any, channels: int) -> Normalization:
    mean, std = (said[name] for name in ("mean", "std"))
    if not isinstance(mean, list) or not isinstance(std, list) or not all(map(_is_number, (*mean, *std))):
        raise ValueError("mean and std must be lists of numbers")
    return checked(Normalization(tuple(map(float, mean)), tuple(map(float, std))), channels)


def _resize(said: Any) -> Resize:
    found = Resize(**said)
    if not type(found.size) is type(found.crop) is int:
        raise ValueError("size and crop of resize must be whole numbers")
    return checked_resize(found)


def _is_number(said: Any) -> bool:
    return isinstance(said, int | float) and not isinstance(said, bool)


def _labels(said: Any) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said) or len(set(said)) < len(said):
        raise ValueError("labels must be a list of the names of classes, each once")
    return tuple(said)
