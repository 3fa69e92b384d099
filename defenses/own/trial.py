"""A user's own model or defence is tried on a few held-out images: what is wrong with it is said in one line."""

import sys
from collections.abc import Callable
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
from defenses.model import Model, hosted, say_of_probabilities, undefended
from defenses.own.source import run

PROBED, DRAWS = 2, 16  # held-out images, and draws of each, on which a user's own code is tried
ROUNDING = 1e-5  # of pixels, outside [0, 1]
SAME_ROW = 1e-3  # of the largest number: how far the answers to one image may be apart, by rounding
GIVEN_IMAGES = "images come as (n, h, w, c) arrays, float32 in [0, 1]: a network of PyTorch needs a function around it"
SLOWER = "cannot be traced by jit: it runs on the host, slower and without a gradient"
GIVEN_MODEL = "a function is given a Model: one of images belongs in a Defense"


def tried_defense(name: str, built: Any, dataset: Dataset) -> Defense | Callable[[Model], Model]:
    """A user's defence after it was tried on some held-out images; ValueError says in one line what is wrong with it.

    Wrong are: another shape than the images', numbers that are not finite or outside [0, 1], keys that are ignored
    although it is declared random, answers that differ although it is not, and rows that depend on one another.
    """
    if not isinstance(built, Defense):
        if not callable(built):
            raise ValueError(f"{name} must give a Defense or a function Model -> Model, got {type(built).__name__}")
        return lambda model: _tried_model(name, run(name, lambda: built(model), GIVEN_MODEL), dataset)
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
    first, *others = (run(name, lambda: np.asarray(scores(params, images)), GIVEN_IMAGES) for _ in range(DRAWS))
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


def _called(name: str, ask: Callable, draw: int, images: np.ndarray) -> np.ndarray:
    return _asked(name, ask, jax.random.split(jax.random.key(draw), len(images)), images)


def _asked(name: str, ask: Callable, keys: Key[Array, " n"], images: np.ndarray) -> np.ndarray:
    return run(name, lambda: np.asarray(ask(keys, images)), GIVEN_IMAGES)


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
    run(name, lambda: answered(keys, images), GIVEN_IMAGES)  # here a failure is the defence's own, not a callback's
    return Defense(defense.name, (), apply, defense.randomized, has_gradient=False)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _images(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.test.images[np.arange(min(PROBED, len(dataset.test.images)))])
