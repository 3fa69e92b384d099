"""The tables: data sets, classifiers and defences by name, trained when first asked for and cached.

`classifier("cnn")` behind `defense("random-purifier")` is the victim of the embedded default.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import jax
from jaxtyping import PyTree

from defenses.classifiers import cnn, orthogonal, resnet
from defenses.classifiers.classifier import Classifier
from defenses.data import digits
from defenses.defense import Defense
from defenses.evaluation import accuracy
from defenses.purifiers import convolutional, family
from defenses.purifiers.family import PurifierFamily
from defenses.purifiers.gaussian_noise import gaussian_noise
from defenses.purifiers.identity import identity
from defenses.purifiers.mean_filter import mean_filter
from defenses.weights import Identity, Weights, obtain

CACHE = Path("results/models")
Entry = TypeVar("Entry")


def cnn_weights(dataset: str = "digits", seed: int = 0, cache: Path = CACHE) -> Weights:
    """Weights of the small convolutional network; trains on a cache miss, raises as `classifier` does."""
    split = load(dataset)
    recipe = cnn.Recipe()
    return obtain(
        Identity("cnn", dataset, checked_seed(seed), asdict(recipe)),
        cache,
        jax.eval_shape(lambda: cnn.initial(recipe, seed)),
        lambda: cnn.train(recipe, split.train, seed),
        lambda params: accuracy(cnn.classifier(recipe, params), identity(), split.test, seed)._asdict(),
    )


def orthogonal_weights(dataset: str = "digits", seed: int = 0, cache: Path = CACHE) -> Weights:
    """Weights of the orthogonal network; trains on a cache miss, raises as `classifier` does."""
    split = load(dataset)
    recipe = orthogonal.Recipe()
    return obtain(
        Identity("orthogonal", dataset, checked_seed(seed), asdict(recipe)),
        cache,
        jax.eval_shape(lambda: orthogonal.initial(recipe, seed)),
        lambda: orthogonal.train(recipe, split.train, seed),
        lambda params: accuracy(orthogonal.classifier(params), identity(), split.test, seed)._asdict(),
    )


def purifier_weights(dataset: str = "digits", seed: int = 0, cache: Path = CACHE) -> Weights:
    """Weights of the purifier family; trains it, and the cnn it protects, on a cache miss.

    The card reports the accuracy of that cnn behind the family's average. Raises as `defense` does.
    """
    split = load(dataset)
    recipe = convolutional.Recipe()
    victim = cnn.classifier(cnn.Recipe(), cnn_weights(dataset, seed, cache).params)

    def measure(params: PyTree) -> Mapping[str, int | float]:
        averaged = family.average(convolutional.family(recipe, params))
        return accuracy(victim, averaged, split.test, seed)._asdict()

    return obtain(
        Identity("purifiers", dataset, seed, {"victim": asdict(cnn.Recipe()), **asdict(recipe)}),
        cache,
        jax.eval_shape(lambda: convolutional.initial(recipe, seed)),
        lambda: convolutional.train(recipe, split.train, victim, seed),
        measure,
    )


def purifier_family(dataset: str = "digits", seed: int = 0, cache: Path = CACHE) -> PurifierFamily:
    """The K = 8 convolutional purifiers, trained on a cache miss; raises as `defense` does."""
    return convolutional.family(convolutional.Recipe(), purifier_weights(dataset, seed, cache).params)


DATASETS: dict[str, Callable[[], digits.Digits]] = {
    "digits": digits.load,
}
TRAINED: dict[str, Callable[[str, int, Path], Weights]] = {
    "cnn": cnn_weights,
    "orthogonal": orthogonal_weights,
    "purifiers": purifier_weights,
}
CLASSIFIERS: dict[str, Callable[[str, int, Path], Classifier]] = {
    "cnn": lambda *key: cnn.classifier(cnn.Recipe(), cnn_weights(*key).params),
    "orthogonal": lambda *key: orthogonal.classifier(orthogonal_weights(*key).params),
    "resnet20": lambda dataset, seed, cache: resnet.random_resnet20(seed),
}
DEFENSES: dict[str, Callable[[str, int, Path], Defense]] = {
    "none": lambda *key: identity(),
    "gaussian-noise": lambda *key: gaussian_noise(0.05),
    "mean-filter": lambda *key: mean_filter(3),
    "purifier-0": lambda *key: family.member(purifier_family(*key), 0),
    "average-purifier": lambda *key: family.average(purifier_family(*key)),
    "random-purifier": lambda *key: family.random_choice(purifier_family(*key)),
    "patchwise-purifier": lambda *key: family.patchwise_choice(purifier_family(*key), 4),
}


def classifier(name: str, dataset: str = "digits", seed: int = 0, cache: Path = CACHE) -> Classifier:
    """The classifier of that name, trained on `dataset` from `seed` when `cache` does not hold it yet.

    `resnet20` has random weights drawn from `seed`, takes 32×32×3 images, and reads neither data nor cache.
    Raises ValueError for an unknown name or data set, a negative seed, or a damaged file in `cache`.
    """
    build = entry("classifier", CLASSIFIERS, name)
    entry("dataset", DATASETS, dataset)
    return build(dataset, checked_seed(seed), Path(cache))


def defense(name: str, dataset: str = "digits", seed: int = 0, cache: Path = CACHE) -> Defense:
    """The defence of that name; purifiers are those trained on `dataset` from `seed`, see `classifier`.

    Raises ValueError for an unknown name or data set, a negative seed, or a damaged file in `cache`.
    """
    build = entry("defense", DEFENSES, name)
    entry("dataset", DATASETS, dataset)
    return build(dataset, checked_seed(seed), Path(cache))


def load(dataset: str) -> digits.Digits:
    """The data set of that name; raises ValueError for an unknown one."""
    return entry("dataset", DATASETS, dataset)()


def entry(argument: str, table: Mapping[str, Entry], name: str) -> Entry:
    """The table's entry, or a ValueError that names the argument, its value and what is allowed."""
    if name not in table:
        raise ValueError(f"{argument} must be one of {', '.join(table)}, got {name!r}")
    return table[name]


def checked_seed(seed: int) -> int:
    """`seed` if it lies in 0..2³²−1, else ValueError."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0..{2**32 - 1}, got {seed}")
    return seed
