"""Trained weights on disk: a safetensors file named after its recipe, and a JSON card beside it."""

import hashlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from defenses.files.checkpoint_parts.shards import INDEX

CARD_VERSIONS = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")


class Identity(NamedTuple):
    """What weights are of: model and dataset names, seed ≥ 0, and the recipe as JSON values."""

    model: str
    dataset: str
    seed: int
    recipe: Mapping[str, Any]


class Weights(NamedTuple):
    """Params (nested dictionary of arrays), their JSON card, their file, and whether that was read."""

    params: PyTree
    card: Mapping[str, Any]
    path: Path
    cached: bool

    @property
    def origin(self) -> dict[str, str]:
        """Name and sha256 of the file."""
        return {"file": self.path.name, "sha256": self.card["sha256"]}


def location(identity: Identity, cache: Path) -> Path:
    """The file of these weights in `cache`; its name holds a hash of the recipe: a new recipe retrains."""
    recipe = json.dumps(identity.recipe, sort_keys=True)
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    return Path(cache) / f"{identity.dataset}-{identity.model}-seed{identity.seed}-{digest}.safetensors"


def obtain(
    identity: Identity,
    cache: Path,
    template: PyTree,
    train: Callable[[], tuple[PyTree, Mapping[str, Any]]],
    measure: Callable[[PyTree], Mapping[str, Any]],
) -> Weights:
    """Read the weights from `cache`, or train, measure and store them there.

    template: the params' structure, shapes and dtypes (arrays or `jax.ShapeDtypeStruct`).
    train: gives params and what the card says of their training.
    measure: what the card reports of trained params, such as accuracy.
    Raises ValueError when the stored file is damaged or of something else, or when `cache` can't be written.
    """
    path = location(identity, cache)
    if path.exists():
        return Weights(*read_weights(path, template), path, cached=True)
    _make_writable(path.parent)
    params, training = train()
    card = {
        "model": identity.model,
        "dataset": identity.dataset,
        "seed": identity.seed,
        "recipe": dict(identity.recipe),
        "measured": dict(measure(params)),
        "training": dict(training),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "versions": {name: version(name) for name in CARD_VERSIONS},
    }
    return Weights(params, _write(path, params, card), path, cached=False)


def named(tree: PyTree) -> dict[str, Any]:
    """The leaves of params by the name under which they are stored: the keys that lead to them, joined by "/"."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def card_path(path: Path) -> Path:
    """The card of a weights file; of an index of shards, `model.safetensors.index.json`, that is `model.json`."""
    return path.with_name(path.name.removesuffix(INDEX)).with_suffix(".json")


def _make_writable(folder: Path) -> None:
    """Create the folder, before and not after minutes of training find out that it can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cache must be a folder that can be written, got {folder}") from error


def _write(path: Path, params: PyTree, card: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write card, then weights, each under a temporary name that is renamed: weights in place are whole."""
    content = safetensors.save(_flat(params))
    card = {**card, "sha256": hashlib.sha256(content).hexdigest()}
    _replace(card_path(path), (json.dumps(card, indent=2) + "\n").encode())
    _replace(path, content)
    return card


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def read_weights(path: Path, template: PyTree) -> tuple[PyTree, Mapping[str, Any]]:
    """Params and card of the file; ValueError where it is damaged or its arrays are not those of the template."""
    content = path.read_bytes()
    try:
        card = json.loads(card_path(path).read_text())
        arrays = safetensors.load(content)
        whole = card["sha256"] == hashlib.sha256(content).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    expected = {name: (leaf.shape, leaf.dtype) for name, leaf in named(template).items()}
    if not whole:
        raise _damaged(path, "its sha256 is not the one on its card")
    if {name: (array.shape, array.dtype) for name, array in arrays.items()} != expected:
        raise _damaged(path, "its arrays are not those of the model")
    names = list(named(template))
    leaves = [jnp.asarray(arrays[name]) for name in names]
    return jax.tree.unflatten(jax.tree.structure(template), leaves), card


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path} is damaged or foreign ({reason}); delete it to train it again")


def _flat(params: PyTree) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf, order="C") for name, leaf in named(params).items()}
