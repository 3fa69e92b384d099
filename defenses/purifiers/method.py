"""The record of a defence: one row of the table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import PyTree

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset
from defenses.defense import Defense
from defenses.model import Model


class Site(NamedTuple):
    """Where a defence is built: what it may be trained on, from which seed, where its weights are kept.

    dataset: reads it. models: folder of trained weights.
    protected: gives the classifier whose gradients purifiers learn to undo.
    """

    dataset: Callable[[], Dataset]
    seed: int
    models: Path
    protected: Callable[[], Classifier]


class Method(NamedTuple):
    """A published defence.

    settings: frozen dataclass of its settings, each with its default and docstring; raises ValueError.
    build: (settings, what `train` returned or None) -> a `Defense`, image to image, or a function Model -> Model.
    source: the paper, and where the defaults come from.
    randomized: whether it answers at random.
    passes: forward passes of the classifier that one answer costs, in the names of the settings.
    train: site -> what is learnt for it, read from the cache after the first time; None where nothing is.
    """

    settings: type
    build: Callable[[Any, PyTree], Defense | Callable[[Model], Model]]
    source: str
    randomized: bool = False
    passes: str = "1"
    train: Callable[[Site], Any] | None = None


@dataclass(frozen=True)
class NoSettings:
    """The defence has no settings."""
