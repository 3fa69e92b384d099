"""The tables: classifiers and defences by name, for every data set; small ones are trained when first asked for.

`classifier("cnn")` behind `defense("random-purifier")` is the victim of the embedded default.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import jax
from jaxtyping import PyTree

from defenses.classifiers import cnn, orthogonal
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset, training_images
from defenses.data.sources import SOURCES, load
from defenses.defense import Defense
from defenses.evaluation import accuracy
from defenses.files.folders import Folders
from defenses.purifiers import convolutional, family
from defenses.purifiers.family import PurifierFamily
from defenses.purifiers.gaussian_noise import gaussian_noise
from defenses.purifiers.identity import identity
from defenses.purifiers.mean_filter import mean_filter
from defenses.purifiers.quantizer import quantizer, random_quantizer
from defenses.weights.cached import Identity, Weights, obtain
from defenses.weights.pretrained import pretrained

__all__ = ["SOURCES", "load"]  # beside what is defined here
HERE = Folders()
PROTECTED = {"cifar10": "resnet20"}  # the classifier whose gradients purifiers learn to undo; elsewhere the cnn
Entry = TypeVar("Entry")


def cnn_weights(dataset: Dataset, seed: int, folders: Folders) -> Weights:
    """Weights of the small convolutional network; trains on a cache miss."""
    training_images(dataset)  # before anything is written
    recipe = cnn.Recipe()
    return obtain(
        Identity("cnn", dataset.name, seed, asdict(recipe)),
        folders.models,
        jax.eval_shape(lambda: cnn.initial(recipe, dataset, seed)),
        lambda: cnn.train(recipe, dataset, seed),
        lambda params: accuracy(cnn.classifier(recipe, dataset, params), identity(), dataset.test, seed)._asdict(),
    )


def orthogonal_weights(dataset: Dataset, seed: int, folders: Folders) -> Weights:
    """Weights of the orthogonal network; trains on a cache miss."""
    training_images(dataset)  # before anything is written
    recipe = orthogonal.Recipe()
    return obtain(
        Identity("orthogonal", dataset.name, seed, asdict(recipe)),
        folders.models,
        jax.eval_shape(lambda: orthogonal.initial(recipe, dataset, seed)),
        lambda: orthogonal.train(recipe, dataset, seed),
        lambda params: accuracy(orthogonal.classifier(dataset, params), identity(), dataset.test, seed)._asdict(),
    )


def purifier_weights(dataset: Dataset, seed: int, folders: Folders) -> Weights:
    """Weights of the purifier family; trains it, and the cnn where it protects one, on a cache miss.

    The card reports the accuracy of the protected classifier behind the family's average.
    """
    training_images(dataset)  # before anything is written
    recipe = convolutional.Recipe()
    victim = classifier(PROTECTED.get(dataset.name, "cnn"), dataset.name, seed, folders)

    def measure(params: PyTree) -> Mapping[str, int | float]:
        averaged = family.average(convolutional.family(recipe, params))
        return accuracy(victim, averaged, dataset.test, seed)._asdict()

    return obtain(
        Identity("purifiers", dataset.name, seed, {"victim": dict(victim.origin), **asdict(recipe)}),
        folders.models,
        jax.eval_shape(lambda: convolutional.initial(recipe, dataset.image_shape[-1], seed)),
        lambda: convolutional.train(recipe, dataset, victim, seed),
        measure,
    )


def _trained_cnn(dataset: Dataset, seed: int, folders: Folders) -> Classifier:
    weights = cnn_weights(dataset, seed, folders)
    return cnn.classifier(cnn.Recipe(), dataset, weights.params)._replace(origin=weights.origin)


def _trained_orthogonal(dataset: Dataset, seed: int, folders: Folders) -> Classifier:
    weights = orthogonal_weights(dataset, seed, folders)
    return orthogonal.classifier(dataset, weights.params)._replace(origin=weights.origin)


TRAINED: dict[str, Callable[[Dataset, int, Folders], Weights]] = {
    "cnn": cnn_weights,
    "orthogonal": orthogonal_weights,
    "purifiers": purifier_weights,
}
SMALL: dict[str, Callable[[Dataset, int, Folders], Classifier]] = {
    "cnn": _trained_cnn,
    "orthogonal": _trained_orthogonal,
}
CLASSIFIERS = (*SMALL, *ARCHITECTURES)
DEFENSES: dict[str, Callable[[str, int, Folders], Defense]] = {
    "none": lambda *key: identity(),
    "gaussian-noise": lambda *key: gaussian_noise(0.05),
    "mean-filter": lambda *key: mean_filter(3),
    "quantizer": lambda *key: quantizer(8),
    "random-quantizer": lambda *key: random_quantizer(8),
    "purifier-0": lambda *key: family.member(purifier_family(*key), 0),
    "average-purifier": lambda *key: family.average(purifier_family(*key)),
    "random-purifier": lambda *key: family.random_choice(purifier_family(*key)),
    "patchwise-purifier": lambda *key: family.patchwise_choice(purifier_family(*key), 4),
}
STRENGTHS: dict[str, Callable[[float], Defense]] = {
    "gaussian-noise": gaussian_noise,  # "gaussian-noise:0.01" sets the standard deviation
    "quantizer": quantizer,  # "quantizer:4" the number of grey levels
    "random-quantizer": random_quantizer,
}


def classifier(
    name: str, dataset: str = "digits", seed: int = 0, folders: Folders = HERE, weights: Path | None = None
) -> Classifier:
    """The classifier of that name for that data set.

    cnn and orthogonal are trained from `seed` when `folders.models` does not hold them yet. The architectures take
    the file `weights` (published or trained here); without one, those found by `pretrained`.
    Raises ValueError for an unknown name or data set, a negative seed, missing data, or a damaged or foreign file.
    """
    checked("classifier", CLASSIFIERS, name)
    if name in ARCHITECTURES:
        return pretrained(name, dataset, checked_seed(seed), folders, weights)
    if weights is not None:
        raise ValueError(f"weights can be given for {', '.join(ARCHITECTURES)}, not for {name}, which trains itself")
    return SMALL[name](load(dataset, folders.data), checked_seed(seed), folders)


def purifier_family(dataset: str = "digits", seed: int = 0, folders: Folders = HERE) -> PurifierFamily:
    """The K = 8 convolutional purifiers, trained on a cache miss; raises as `defense` does."""
    weights = purifier_weights(load(dataset, folders.data), checked_seed(seed), folders)
    return convolutional.family(convolutional.Recipe(), weights.params)


def defense(name: str, dataset: str = "digits", seed: int = 0, folders: Folders = HERE) -> Defense:
    """The defence of that name; purifiers are those trained on `dataset` from `seed`, see `classifier`.

    A strength may follow a colon where the table STRENGTHS has the name: `gaussian-noise:0.01`.
    Raises ValueError for an unknown name, strength or data set, a negative seed, or a damaged weights file.
    """
    check_defense(name)
    kind, _, strength = name.partition(":")
    if strength:
        return STRENGTHS[kind](float(strength))
    return DEFENSES[kind](dataset, checked_seed(seed), folders)


def is_smooth(name: str) -> bool:
    """Whether the classifier's scores have a Lipschitz gradient, so that L₁ exists."""
    return ARCHITECTURES[name].smooth if name in ARCHITECTURES else name == "orthogonal"


def check_defense(name: str) -> None:
    """Raise ValueError unless `defense` knows the name and its strength is a number; builds nothing."""
    kind, colon, strength = name.partition(":")
    checked("defense", DEFENSES, kind)
    if colon and kind not in STRENGTHS:
        raise ValueError(f"defense {kind!r} takes no strength, got {name!r}; {', '.join(STRENGTHS)} does")
    if colon:
        try:
            STRENGTHS[kind](float(strength))
        except ValueError as error:
            raise ValueError(f"defense {name!r} has no strength that {kind} can take: {error}") from error


def checked(argument: str, table: Any, name: str) -> None:
    """Raise a ValueError that names the argument, its value and what is allowed, unless the table has the name."""
    if name not in table:
        raise ValueError(f"{argument} must be one of {', '.join(table)}, got {name!r}")


def checked_seed(seed: int) -> int:
    """`seed` if it lies in 0..2³²−1, else ValueError."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0..{2**32 - 1}, got {seed}")
    return seed
