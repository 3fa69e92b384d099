"""Victims by name: models behind defences, and the held-out images that the undefended models get right."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from defenses import zoo
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import network_classifier, template
from defenses.data.dataset import Images, Split, digest, kept
from defenses.data.normalization import UNCHANGED
from defenses.data.sources import image_shape, own_folder
from defenses.evaluation import predictions
from defenses.files.folders import Folders
from defenses.model import Model
from defenses.options.names import Choice
from defenses.options.ranges import check_different
from defenses.own.source import own_sources
from defenses.purifiers.implicit import defense as implicit
from defenses.purifiers.table import Chain
from defenses.weights.file import weights_file
from sims.records.store import file_digest

SMALL_NETWORK_RATE = 2e4  # rows per second of the digits networks on two cores
OPERATIONS_PER_SECOND = 1e11  # of convolutions on two cores


@dataclass(frozen=True)
class VictimOptions:
    """Which networks are looked at."""

    model: zoo.ModelOptions = (zoo.read_model("cnn"),)
    """Classifiers, of those `python -m defenses` lists, or FILE.py:NAME of your own."""
    dataset: str = "digits"
    """Data set whose held-out images are used, or a FOLDER of PNG or JPEG pictures of your own,
    in class folders or with a label file of lines `picture,class`."""
    weights: Path | None = None
    """Weights file of the one classifier; by default the published ones, or those trained here."""
    weights_key: str | None = None
    """Which set of weights to take where that file holds several, such as state_dict_ema; else the raw ones."""
    resize: str | None = None
    """How pictures of a FOLDER become images, SIZE:CROP[:INTERPOLATION]; without it all must have one size."""
    classes: Path | None = None
    """JSON list of the class names of a FOLDER, in the order of the labels; without it its own names in their order."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown data set, no model or one twice, or weights that cannot be given."""
        own_folder(self.dataset, self.resize, self.classes)
        check_different(self, "model")
        if self.weights is not None and self.models not in ARCHITECTURES:
            raise ValueError(f"weights can be given for {', '.join(ARCHITECTURES)}, one of them, not for {self.models}")
        if self.weights is not None and not self.weights.is_file():
            raise ValueError(f"weights must be a file that can be read, got {self.weights}")
        if self.weights is None and self.weights_key is not None:
            raise ValueError(f"weights_key is of a file that weights names, got {self.weights_key!r} without one")

    @classmethod
    def saved(cls, options: dict[str, Any]) -> "VictimOptions":
        """The options as a record's manifest has them; ValueError where they name what is not there any more."""
        files = {name: Path(options[name]) for name in ("weights", "classes") if options.get(name) is not None}
        models = tuple(map(zoo.read_model, options["model"]))
        key, resize = options.get("weights_key"), options.get("resize")
        return cls(models, options["dataset"], weights_key=key, resize=resize, **files)

    @property
    def models(self) -> str:
        """The models' names."""
        return ", ".join(map(str, self.model))

    @property
    def title(self) -> str:
        """Models and data set, for tables and figures."""
        return f"{self.models} on {self.dataset}"


def check_one_model(options: VictimOptions) -> None:
    """Raise ValueError where several models were named for what looks at one."""
    if len(options.model) > 1:
        raise ValueError(f"model must be one here, got {options.models}")


class Victim(NamedTuple):
    """Models by name, and the held-out images that all of them classify correctly undefended.

    models: every model behind every defence, by `victim_names`. undefended: the models alone, by their names.
    pictures: the images, as they are kept. labels: (n,) int32. ids: (n,) index of the images in the held-out set.
    chosen: for every model behind a defence a classifier and a chain, or the address of a service. origins: where its
    weights come from, as `Classifier.origin` says it.
    """

    models: dict[str, Model]
    undefended: dict[str, Model]
    pictures: Images
    labels: np.ndarray
    ids: np.ndarray
    chosen: Mapping[str, tuple[Any, ...]] = MappingProxyType({})
    origins: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    @property
    def network(self) -> Model:
        """The first undefended model."""
        return next(iter(self.undefended.values()))

    @property
    def images(self) -> Float32[np.ndarray, "n h w c"]:
        """All images, in [0, 1]: four times the memory of pictures that are kept as bytes."""
        return self.pictures[:]

    def part(self, rows: slice) -> "Victim":
        """The same models with these images, decoded."""
        return self._replace(pictures=self.pictures[rows], labels=self.labels[rows], ids=self.ids[rows])


def victim_names(options: VictimOptions, chains: Sequence[Chain]) -> tuple[str, ...]:
    """What each model behind each defence is called: by its defence, and by both where there are several models."""
    if len(options.model) == 1:
        return tuple(map(str, chains))
    return tuple(f"{model}, {chain}" for model in options.model for chain in chains)


def load_victim(
    options: VictimOptions, chains: Sequence[Chain], images: int, folders: Folders, seed: int, least: int = 1
) -> Victim:
    """Every model behind every defence, and the first `images` held-out images that every undefended model gets right.

    Raises ValueError for missing data or weights, models that take pictures in different ways, a user's code that is
    wrong, or a number of images outside [`least`, as many as there are].
    """
    given = options.weights, options.weights_key
    found = [zoo.loaded(choice, options.dataset, seed, folders, *given) for choice in options.model]
    if len({one.resize for one in found}) > 1:
        raise ValueError(f"model must be of networks that take pictures in one way, got {options.models}")
    held_out = zoo.load(options.dataset, folders.data, found[0].resize).test
    ids = _correct([one.model for one in found], held_out, images, seed)
    if not least <= images <= len(ids):
        raise ValueError(
            f"images must be in [{least}, {len(ids)}], the held-out images {options.models} gets right, got {images}"
        )
    ids = ids[:images]
    guards = [zoo.guard(chain, options.dataset, seed, folders) for chain in chains]
    names = victim_names(options, chains)
    models = dict(zip(names, [guard(one.model) for one in found for guard in guards], strict=True))
    chosen = dict(zip(names, product(options.model, chains), strict=True))
    origins = dict(zip(names, [one.origin for one in found for _ in guards], strict=True))
    undefended = {str(choice): one.model for choice, one in zip(options.model, found, strict=True)}
    return Victim(models, undefended, kept(held_out.images, ids), held_out.labels[ids], ids, chosen, origins)


def victim_inputs(config: Any, folders: Folders) -> dict[str, Any]:
    """What an experiment with `config.victim` and `config.seed` reads: weights, data, a user's files, by their hashes.

    Of the data all held-out images count, since which of them a run looks at is known only afterwards: 0.03 s for
    CIFAR-10, 2 s for each GB of picture files. The small networks and the purifiers follow from these, the seed and the
    code, but for pools that come in a file. Raises ValueError as `load_victim`.
    """
    options: VictimOptions = config.victim
    weights, resize, given = {}, None, (options.weights, options.weights_key)
    for choice in options.model:
        if choice.name in ARCHITECTURES:
            file = weights_file(choice.name, options.dataset, config.seed, folders, *given)
            weights[choice.name], resize = file.origin, file.resize
    inputs = {"weights": weights, "held_out": digest(zoo.load(options.dataset, folders.data, resize).test)}
    chains = getattr(config, "defenses", (config.defense,) if hasattr(config, "defense") else ())
    parts = [part for chain in chains for part in chain.parts]
    files = own_files([*options.model, *parts]) | _pool_files(config, parts)
    return inputs | ({"files": files} if files else {})


def _pool_files(config: Any, parts: Sequence[Choice]) -> dict[str, str]:
    """The hashes of the files of pools that the configuration or its defences name, by their names."""
    named = [(part.name, part.settings.pool) for part in parts if hasattr(part.settings, "pool")]
    own = getattr(config, "pool", None)
    if own not in (None, "purifiers"):
        named.append((implicit.NAME, "" if own == implicit.NAME else own))
    found = [implicit.pool_file(name, config.victim.dataset, file) for name, file in named]
    return {path.name: file_digest(path) for path in found if path is not None and path.is_file()}


def own_files(choices: Iterable[Choice]) -> dict[str, str]:
    """The hashes of the user's files behind the choices, by their paths."""
    return {str(file): file_digest(file) for file in sorted({f for one in choices for f in own_sources(one)})}


def seconds_per_row(options: VictimOptions) -> float:
    """About what one row costs two cores in a forward pass, the mean over the models; reads no weights."""
    return float(np.mean([_seconds_per_row(choice, options.dataset) for choice in options.model]))


def _seconds_per_row(choice: Choice, dataset: str) -> float:
    """From the network's operations; a user's own model is taken for a small one."""
    shape = image_shape(dataset)
    if choice.name not in ARCHITECTURES:
        size = math.prod(shape)  # the orthogonal network multiplies by two square matrices, the cnn by a few kernels
        operations = 4 * size**2 if choice.name == "orthogonal" else 2000 * size
        return 1 / SMALL_NETWORK_RATE + operations / OPERATIONS_PER_SECOND
    architecture = ARCHITECTURES[choice.name]
    params = template(architecture, shape, 10)
    network = network_classifier(choice.name, architecture, params, shape, 10, UNCHANGED[shape[-1]])
    row = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    analysis = jax.jit(network.logits).lower(params, row).cost_analysis()
    assert analysis is not None  # XLA has one for every backend of this project
    return analysis["flops"] / OPERATIONS_PER_SECOND


def _correct(models: Sequence[Model], split: Split, wanted: int, seed: int) -> np.ndarray:
    """Indices of images that every model classifies correctly: all, or the leading ones once there are `wanted`."""
    found = np.zeros(0, np.int64)
    stride = wanted + wanted // 4 + 8  # a few are classified wrongly
    for start in range(0, len(split.images), stride):
        rows = np.arange(start, min(start + stride, len(split.images)))
        images, labels = split.images[rows], split.labels[rows]
        right = [predictions(model, images, seed)[0] == labels for model in models]
        found = np.concatenate([found, rows[np.all(right, axis=0)]])
        if len(found) >= max(wanted, 1):
            break
    return found
