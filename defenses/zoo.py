"""Classifiers and defences by name, for every data set; small ones are trained when first asked for.

`model("cnn")` behind `guard("random-purifier")` is the victim of the embedded default.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import jax

from defenses.classifiers import cnn, orthogonal
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset, training_images
from defenses.data.sources import SOURCES, load
from defenses.evaluation import accuracy
from defenses.files.folders import Folders
from defenses.files.resize import Resize
from defenses.model import Model, undefended
from defenses.options.names import Choice, several
from defenses.own.source import is_own, own
from defenses.own.trial import tried_model
from defenses.purifiers.implicit import defense as implicit
from defenses.purifiers.method import NoSettings, Site
from defenses.purifiers.pools import pool as convolutional
from defenses.purifiers.pools.family import PurifierFamily
from defenses.purifiers.table import DEFENSES, Chain, build
from defenses.weights.cached import Identity, Weights
from defenses.weights.pretrained import pretrained
from defenses.weights.trained import trained

__all__ = ["DEFENSES", "SOURCES", "load"]  # beside what is defined here
HERE = Folders()
SMALL = {"cnn": cnn, "orthogonal": orthogonal}
PROTECTED = {"cifar10": "resnet20"}  # the classifier whose gradients purifiers learn to undo; elsewhere the cnn


def small_weights(name: str, dataset: Dataset, seed: int, folders: Folders) -> Weights:
    """Weights of the small network of that name; trains on a cache miss."""
    training_images(dataset)  # before anything is written
    network = SMALL[name]
    recipe = network.Recipe()
    return trained(
        Identity(name, dataset.name, seed, asdict(recipe)),
        folders.models,
        jax.eval_shape(lambda: network.initial(recipe, dataset, seed)),
        lambda: network.training(recipe, dataset, seed),
        lambda params: accuracy(undefended(network.classifier(recipe, dataset, params)), dataset.test, seed)._asdict(),
    )


def purifier_weights(dataset: Dataset, seed: int, folders: Folders) -> Weights:
    """Weights of the pool of purifiers; trains it, and the cnn where it protects one, on a cache miss."""
    return convolutional.weights(site(dataset.name, seed, folders))


TRAINED: dict[str, Callable[[Dataset, int, Folders], Weights]] = {
    **{name: partial(small_weights, name) for name in SMALL},
    "purifiers": purifier_weights,
}
CLASSIFIERS = (*SMALL, *ARCHITECTURES)


def read_model(text: str) -> Choice:
    """A classifier of the table, or FILE.py:NAME; ValueError says what is wrong."""
    if is_own(text):
        return own("model", text)
    checked("model", CLASSIFIERS, text)
    return Choice(text, NoSettings())


ModelOptions = Annotated[tuple[Choice, ...], several(Choice, read_model, "MODEL")]


def classifier(
    name: str,
    dataset: str = "digits",
    seed: int = 0,
    folders: Folders = HERE,
    weights: Path | None = None,
    weights_key: str | None = None,
) -> Classifier:
    """The classifier of that name for that data set.

    cnn and orthogonal are trained from `seed` when `folders.models` does not hold them yet. The architectures take
    the file `weights` (published or trained here), of which `weights_key` is the set of weights where it holds
    several; without one, those found by `pretrained`.
    Raises ValueError for an unknown name or data set, a negative seed, missing data, or a damaged or foreign file.
    """
    checked("classifier", CLASSIFIERS, name)
    if weights_key is not None and weights is None:
        raise ValueError(f"weights_key is of a file that weights names, got {weights_key!r} without one")
    if name in ARCHITECTURES:
        return pretrained(name, dataset, checked_seed(seed), folders, weights, weights_key)
    if weights is not None:
        raise ValueError(f"weights can be given for {', '.join(ARCHITECTURES)}, not for {name}, which trains itself")
    read, network = load(dataset, folders.data), SMALL[name]
    trained = small_weights(name, read, checked_seed(seed), folders)
    return network.classifier(network.Recipe(), read, trained.params)._replace(origin=trained.origin)


class Loaded(NamedTuple):
    """A model without a defence; how picture files become images of its shape, or None; where its weights come from."""

    model: Model
    resize: Resize | None = None
    origin: Mapping[str, str] = MappingProxyType({})


def loaded(
    choice: Choice,
    dataset: str,
    seed: int,
    folders: Folders,
    weights: Path | None = None,
    weights_key: str | None = None,
) -> Loaded:
    """The model that `read_model` chose, for that data set; raises as `classifier` does, and for a wrong own one."""
    if is_own(choice.name):
        built = choice.row.build(choice.settings, None)
        return Loaded(tried_model(choice.name, built, load(dataset, folders.data)))
    found = classifier(choice.name, dataset, seed, folders, weights, weights_key)
    return Loaded(undefended(found), found.resize, found.origin)


def site(dataset: str, seed: int, folders: Folders) -> Site:
    """Where defences for that data set are built."""
    protected = partial(classifier, PROTECTED.get(dataset, "cnn"), dataset, seed, folders)
    return Site(partial(load, dataset, folders.data), checked_seed(seed), folders.models, protected)


def purifier_family(
    dataset: str = "digits", seed: int = 0, folders: Folders = HERE, pool: str = "purifiers"
) -> PurifierFamily:
    """A pool's members: "purifiers", the K = 8 convolutional ones, trained on a cache miss; those of "puridefense".

    pool: one of the two, or the file of a pool that `python -m sims pool` trained. Raises as `classifier` and
    `implicit.defense.found` do.
    """
    place = site(dataset, seed, folders)
    if pool == "purifiers":
        return convolutional.trained(place)
    return implicit.whole(implicit.found(implicit.NAME, place, "" if pool == implicit.NAME else pool))


def guard(chain: Chain, dataset: str = "digits", seed: int = 0, folders: Folders = HERE) -> Callable[[Model], Model]:
    """What puts the chain of defences in front of a model; purifiers are those trained on `dataset` from `seed`.

    Raises ValueError for an unknown data set, a negative seed, a damaged weights file, or a wrong defence of a user.
    """
    return build(chain, site(dataset, seed, folders))


def is_smooth(name: str) -> bool:
    """Whether the classifier's scores have a Lipschitz gradient, so that L₁ exists."""
    return ARCHITECTURES[name].smooth if name in ARCHITECTURES else name == "orthogonal"


def checked(argument: str, table: Any, name: str) -> None:
    """Raise a ValueError that names the argument, its value and what is allowed, unless the table has the name."""
    if name not in table:
        raise ValueError(f"{argument} must be one of {', '.join(table)}, got {name!r}")


def checked_seed(seed: int) -> int:
    """`seed` if it lies in 0..2³²−1, else ValueError."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0..{2**32 - 1}, got {seed}")
    return seed
