"""A user's own model or defence, from a Python file: `FILE.py:NAME`, and `FILE.py:NAME:setting=value` for settings.

A defence is a `Defense`, a function Model -> Model, or a frozen dataclass of settings whose method `build()` gives one
of them. A model is a `Model`, a `Classifier`, a Flax NNX module, any function images -> scores, or such a dataclass.
What jit cannot trace (PyTorch, NumPy) runs on the host, through a callback: slower, and without a gradient.

Images come as (n, h, w, c) float32 in [0, 1], scores are logits, and a network is in evaluation mode: a row's answer
depends on that row's image, and on its key where it is random. All this is tried on a few held-out images first.
"""

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.errors import TraceContextError
from jaxtyping import Array, Key

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset
from defenses.defense import Defense
from defenses.files.python_sources import python_sources
from defenses.model import Model, hosted, say_of_probabilities, undefended
from defenses.options.names import Choice, with_settings
from defenses.purifiers.method import Method, NoSettings

MARK = ".py:"
PROBED, DRAWS = 2, 16  # held-out images, and draws of each, on which a user's own code is tried
ROUNDING = 1e-5  # of pixels, outside [0, 1]
SAME_ROW = 1e-3  # of the largest number: how far the answers to one image may be apart, by rounding
GIVEN_IMAGES = "images come as (n, h, w, c) arrays, float32 in [0, 1]: a network of PyTorch needs a function around it"
SLOWER = "cannot be traced by jit: it runs on the host, slower and without a gradient"
GIVEN_MODEL = "a function is given a Model: one of images belongs in a Defense"


def is_own(text: str) -> bool:
    """Whether the text names something in a user's file."""
    return MARK in text


def own_sources(choice: Choice) -> list[Path]:
    """The user's files that the choice is made of, as `python_sources` finds them; [] where it is one of a table."""
    return python_sources(Path(choice.name.partition(MARK)[0] + ".py")) if is_own(choice.name) else []


def own(kind: str, text: str) -> Choice:
    """What stands in the file under that name as a choice; `kind` is "defense" or "model".

    A file in the working folder is called by its path from there, however the text spells it. Raises ValueError, in one
    line, for a file that cannot be read or run, a name that is not in it, or a setting that it does not have.
    """
    spelt, _, rest = text.partition(MARK)
    file, (name, _, given) = _from_here(spelt), rest.partition(":")
    thing = _found(kind, Path(file + ".py"), name)
    full = f"{file}{MARK}{name}"
    if isinstance(thing, type) and dataclasses.is_dataclass(thing) and hasattr(thing, "build"):
        _run(full, thing)  # every setting needs a default
        return with_settings(
            full, given, Method(thing, lambda settings, _: _run(full, settings.build), f"class in {file}.py")
        )
    if not (callable(thing) or isinstance(thing, Defense | Model | Classifier)):
        raise ValueError(f"{kind} {full} must be a {kind}, a function or a dataclass with build(), got {type(thing)}")
    there: Any = thing
    return with_settings(full, given, Method(NoSettings, lambda settings, _: there, f"{name} in {file}.py"))


def _from_here(file: str) -> str:
    """The path without detours, from the working folder where it leads into that."""
    path, here = os.path.abspath(file), os.getcwd()
    return os.path.relpath(path, here) if Path(path).is_relative_to(here) else path


def tried_defense(name: str, built: Any, dataset: Dataset) -> Defense | Callable[[Model], Model]:
    """A user's defence after it was tried on some held-out images; ValueError says in one line what is wrong with it.

    Wrong are: another shape than the images', numbers that are not finite or outside [0, 1], keys that are ignored
    although it is declared random, answers that differ although it is not, and rows that depend on one another.
    """
    if not isinstance(built, Defense):
        if not callable(built):
            raise ValueError(f"{name} must give a Defense or a function Model -> Model, got {type(built).__name__}")
        return lambda model: _tried_model(name, _run(name, lambda: built(model), GIVEN_MODEL), dataset)
    images = _images(dataset)
    defense = built if _traces(name, built.apply, built.params, images) else _on_host(name, built, images)
    apply = jax.jit(defense.apply)

    def ask(keys, images):
        return apply(defense.params, keys, images)

    purified = _called(name, ask, 0, images)
    if purified.shape != images.shape:
        raise ValueError(f"{name} must return images of shape {images.shape}, as it gets, got {purified.shape}")
    _check_finite(name, purified)
    if purified.min() < -ROUNDING or purified.max() > 1 + ROUNDING:
        low, high = purified.min(), purified.max()
        raise ValueError(f"{name} must return images in [0, 1], got values from {low:.3g} to {high:.3g}: clip them")
    _check_keys(name, defense.randomized, ask, images)
    _check_rows(name, ask, images)
    if defense is not built:
        _say(f"{name} {SLOWER}")
    return defense


def tried_model(name: str, built: Any, dataset: Dataset) -> Model:
    """A user's model after it was tried on some held-out images; ValueError says in one line what is wrong with it.

    What is slow, or may be meant in another way, is said on stderr: a model on the host, one that is random there, one
    of more classes than the data, and probabilities instead of logits.
    """
    model = _tried_model(name, _model_of(name, built, dataset), dataset)
    if model.num_classes > len(dataset.classes):
        fewer = f"{dataset.name} has {len(dataset.classes)}: label 0 is taken for its score 0, and so on"
        _say(
            f"{name} gives scores of {model.num_classes} classes, {fewer}; --classes FILE.json tells a FOLDER's labels"
        )
    if model.host is not None:
        _say(f"{name} {SLOWER}")
    if model.host is not None and model.randomized:
        _say(f"{name} answers differently each time: taken for a random model; if it is none, call .eval() on it")
    return model


def _model_of(name: str, built: Any, dataset: Dataset) -> Model:
    if isinstance(built, Model):
        return built
    if isinstance(built, Classifier):
        return undefended(built)
    if isinstance(built, nnx.Module):
        graph, state = nnx.split(built)
        return _of_function(name, lambda params, images: nnx.merge(graph, params)(images), state, dataset)
    if not callable(built):
        raise ValueError(f"{name} must be a Model, a module or a function images -> scores, got {type(built).__name__}")
    return _of_function(name, lambda params, images: built(images), (), dataset)


def _of_function(name: str, scores: Callable, params: Any, dataset: Dataset) -> Model:
    images = _images(dataset)
    if _traces(name, lambda params, keys, images: scores(params, images), params, images):
        found = jax.eval_shape(scores, params, images)
        if not isinstance(found, jax.ShapeDtypeStruct) or found.ndim != 2:
            shape = getattr(found, "shape", type(found).__name__)
            raise ValueError(f"{name} must return scores of shape ({len(images)}, classes), got {shape}")
        classes = found.shape[-1]
        return Model(name, params, lambda params, keys, images: scores(params, images), classes)
    first, *others = (_run(name, lambda: np.asarray(scores(params, images)), GIVEN_IMAGES) for _ in range(DRAWS))
    if first.ndim != 2:
        raise ValueError(f"{name} must return scores of shape ({len(images)}, classes), got {first.shape}")
    randomized = any((other != first).any() for other in others)
    return hosted(name, lambda images, request: scores(params, images), first.shape[-1], randomized)


def _tried_model(name: str, model: Any, dataset: Dataset) -> Model:
    if not isinstance(model, Model):
        raise ValueError(f"{name} must give a Model, got {type(model).__name__}")
    images = _images(dataset)
    answer = jax.jit(model.scores)

    def ask(keys, images):
        return answer(model.params, keys, images)

    scores = _called(name, ask, 0, images)
    if scores.shape != (len(images), model.num_classes) or model.num_classes < len(dataset.classes):
        expected = (len(images), max(model.num_classes, len(dataset.classes)))
        raise ValueError(f"{name} must return scores of shape {expected}, got {scores.shape}")
    _check_finite(name, scores)
    _check_keys(name, model.randomized, ask, images)
    _check_rows(name, ask, images)
    say_of_probabilities(name, scores)
    return model


def _check_finite(name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must return finite numbers, got {values[~np.isfinite(values)][0]}")


def _check_keys(name: str, randomized: bool, ask: Callable, images: np.ndarray) -> None:
    """Whether answers differ from draw to draw as they are declared to."""
    first = _called(name, ask, 0, images)
    differ = any((_called(name, ask, draw, images) != first).any() for draw in range(1, DRAWS))
    if randomized and not differ:
        raise ValueError(f"{name} is declared random and ignores its keys: {DRAWS} draws gave one answer")
    if differ and not randomized:
        raise ValueError(f"{name} is declared deterministic (randomized=False) and answers differently each time")


def _check_rows(name: str, ask: Callable, images: np.ndarray) -> None:
    """Whether an image's answer, at one key, depends on its neighbours or its place: each is asked beside its copies.

    What answers differently at the same keys is random by itself, and nothing can be said of it.
    """
    keys = jax.random.split(jax.random.key(0), len(images))
    together = _asked(name, ask, keys, images)

    def moved(row: int) -> bool:
        copies = np.full(len(images), row)
        apart = _asked(name, ask, keys[copies], images[copies]) - together[row]
        return np.abs(apart).max() > SAME_ROW * np.abs(together).max()

    def repeats() -> bool:
        return all((_asked(name, ask, keys, images) == together).all() for _ in range(DRAWS))

    if any(map(moved, range(len(images)))) and repeats():
        cure = "call .eval() on a network in training mode (batch norm, dropout)"
        raise ValueError(f"{name} must answer each row by its own image and key, not by the rest of the batch: {cure}")


def _run(name: str, code: Callable[[], Any], given: str = "") -> Any:
    """What the code returns; ValueError in one line where it fails, ending in what it was given."""
    try:
        return code()
    except Exception as error:  # a stranger's code fails in any way
        told = str(error).strip().partition("\n")[0].rstrip(".:")
        raise ValueError(f"{name} fails: {type(error).__name__}: {told}{given and '; ' + given}") from error


def _called(name: str, ask: Callable, draw: int, images: np.ndarray) -> np.ndarray:
    return _asked(name, ask, jax.random.split(jax.random.key(draw), len(images)), images)


def _asked(name: str, ask: Callable, keys: Key[Array, " n"], images: np.ndarray) -> np.ndarray:
    return _run(name, lambda: np.asarray(ask(keys, images)), GIVEN_IMAGES)


def _traces(name: str, function: Callable, params: Any, images: np.ndarray) -> bool:
    """Whether jit can trace it; what fails for another reason fails again, and is told, when it runs on the host.

    Raises ValueError where a network of Flax had to be changed, which may be broken now.
    """
    keys = jax.random.split(jax.random.key(0), len(images))
    try:
        jax.eval_shape(function, params, keys, images)
        return True
    except TraceContextError as error:
        cure = "call .eval() on it, without nnx.jit, or name the network itself"
        raise ValueError(f"{name} changes the state of its Flax network when it is traced: {cure}") from error
    except Exception:  # tracers fail in foreign code in any way
        return False


def _on_host(name: str, defense: Defense, images: np.ndarray) -> Defense:
    """The defence through a callback; it gets its keys as (n, 2) uint32 numpy and images as float32 numpy."""
    apply_there: Callable = defense.apply

    def answered(keys, images):
        return np.asarray(apply_there(defense.params, np.asarray(keys), np.asarray(images)), np.float32)

    def apply(params, keys, images):
        shape = jax.ShapeDtypeStruct(images.shape, jnp.float32)
        return jax.pure_callback(answered, shape, jax.random.key_data(keys), images, vmap_method="sequential")

    keys = jax.random.key_data(jax.random.split(jax.random.key(0), len(images)))
    _run(name, lambda: answered(keys, images), GIVEN_IMAGES)  # here a failure is the defence's own, not a callback's
    return Defense(defense.name, (), apply, defense.randomized, has_gradient=False)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _images(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.test.images[np.arange(min(PROBED, len(dataset.test.images)))])


def _found(kind: str, file: Path, name: str) -> Any:
    if not file.is_file():
        raise ValueError(f"{kind} must name a file that is there, got {file}")
    module = _module(file.resolve(), file.stat().st_mtime_ns)
    if not hasattr(module, name):
        raise ValueError(f"{kind} must name something in {file}, got {name!r}")
    return getattr(module, name)


@cache
def _module(file: Path, changed: int) -> Any:
    """The file as a module, run once; its own folder is looked through for what it imports."""
    spec = importlib.util.spec_from_file_location(f"own_{file.stem}_{changed}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # and stays there: a function may import when it is called
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's code fails in any way
        raise ValueError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    return module
