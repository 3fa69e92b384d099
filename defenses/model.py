"""What stands behind a query interface: the record that every experiment, attack and measurement takes."""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Optional

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from defenses.classifiers.classifier import Classifier
from defenses.classifiers.inside import UNKNOWN, Inside
from defenses.defense import Defense

AVERAGES = ("logits", "probabilities", "votes")
BEHIND_STREAM = 2**31 - 1  # the key of what stands behind a defence, where it is random itself
SUM_ROUNDING = 0.01  # of a row of probabilities, in half precision


class Model(NamedTuple):
    """A defended classifier, whatever it is made of: a pure function of parameters, one key per row, and images.

    name: for tables. params: any pytree of arrays.
    scores: (params, (n,) typed keys, (n, h, w, c) float32 images in [0, 1] or outside) -> (n, num_classes) float32,
        logits rather than probabilities. A row's scores depend on that row's image and key alone.
    num_classes: length of a row of scores.
    randomized: static; False means that the keys are ignored, hence V(x) = 0.
    passes: forward passes of the classifier that one answer costs the defender; reported, never billed as queries.
    purify: (params, keys, images) -> images, where there is such a thing (diversity, pictures), else None.
    behind: the model without its defence; None where it has none.
    rebuilt: (change of a defence's `apply`) -> the same model, of the same params, with every defence so changed (a
        backward pass that goes around it); None where there is no defence.
    image_shape: (h, w, c) of the images; None where any are taken.
    has_gradient: False where a part of it runs on the host, out of reach of automatic differentiation.
    host: (images (n, h, w, c) float32 numpy, name of the request) -> scores (n, num_classes) float, or labels (n,)
        integer, of a model that is asked on the host; it then is slower and has no gradient. None for all others.
    inside: the layers of an undefended network of the zoo; unknown for all others.
    """

    name: str
    params: PyTree
    scores: Callable[[PyTree, Key[Array, " n"], Float[Array, "n h w c"]], Float[Array, "n classes"]]
    num_classes: int
    randomized: bool = False
    passes: int = 1
    purify: Callable[[PyTree, Key[Array, " n"], Float[Array, "n h w c"]], Float[Array, "n h w c"]] | None = None
    behind: Optional["Model"] = None
    rebuilt: Callable[[Callable[[Callable], Callable]], "Model"] | None = None
    image_shape: tuple[int, int, int] | None = None
    has_gradient: bool = True
    host: Callable[[Float[np.ndarray, "n h w c"], str], Any] | None = None
    inside: Inside = UNKNOWN


def undefended(classifier: Classifier) -> Model:
    """The classifier alone."""
    logits, (name, params, shape) = classifier.logits, (classifier.name, classifier.params, classifier.image_shape)
    return Model(name, params, lambda params, keys, images: logits(params, images), classifier.num_classes)._replace(
        image_shape=shape, inside=classifier.inside
    )


def bare(model: Model) -> Model:
    """The model without its defence: itself where it has none."""
    return model if model.behind is None else model.behind


def changed(model: Model, change: Callable[[Callable], Callable]) -> Model:
    """The model with `change` made of every defence's `apply`: itself where it has none."""
    return model if model.rebuilt is None else model.rebuilt(change)


def defended(model: Model | Classifier, defense: Defense) -> Model:
    """The model behind a defence, whose name it takes.

    The defence gets the row's key; so does what stands behind it, folded, where that is random itself.
    """
    inner = undefended(model) if isinstance(model, Classifier) else model

    def purify(params, keys, images):
        purified = defense.apply(params[0], keys, images)
        return purified if inner.purify is None else inner.purify(params[1], keys_behind(inner, keys), purified)

    def scores(params, keys, images):
        return inner.scores(params[1], keys_behind(inner, keys), defense.apply(params[0], keys, images))

    return inner._replace(
        name=defense.name,
        params=(defense.params, inner.params),
        scores=scores,
        randomized=inner.randomized or defense.randomized,
        purify=purify,
        behind=bare(inner),
        rebuilt=lambda change: defended(changed(inner, change), defense._replace(apply=change(defense.apply))),
        has_gradient=inner.has_gradient and defense.has_gradient,
        host=None,
        inside=UNKNOWN,
    )


def mean_of(model: Model, runs: int, of: str = "logits") -> Model:
    """The mean of `runs` independent runs of a random model, on the defender's side: `runs` times as many passes.

    of: logits; probabilities, whose logarithm is returned so that losses of scores stay losses; or votes, the share of
    runs that predict each class. Raises ValueError for fewer than one run or another mean.
    """
    if runs < 1:
        raise ValueError(f"runs must be >= 1, got {runs}")
    if of not in AVERAGES:
        raise ValueError(f"of must be one of {', '.join(AVERAGES)}, got {of!r}")

    def scores(params, keys, images):
        each = jax.vmap(lambda key: jax.random.split(key, runs), out_axes=1)(keys)
        seen = jax.lax.map(lambda keys: model.scores(params, keys, images), each)
        if of == "logits":
            return seen.mean(axis=0)
        if of == "probabilities":
            return jax.nn.logsumexp(jax.nn.log_softmax(seen), axis=0) - jnp.log(runs)
        return jax.nn.one_hot(seen.argmax(axis=-1), model.num_classes).mean(axis=0)

    name = f"mean of {runs} {of} of {model.name}"
    return model._replace(
        name=name,
        scores=scores,
        passes=runs * model.passes,
        purify=None,
        behind=bare(model),
        rebuilt=lambda change: mean_of(changed(model, change), runs, of),
        host=None,
        inside=UNKNOWN,
    )


def hosted(name: str, answer: Callable[[np.ndarray, str], Any], num_classes: int, randomized: bool = True) -> Model:
    """A model that the host asks: any callable (images, name of the request) -> scores or labels, or a service.

    Alone, the engine asks it for exactly the rows that wait. Behind a defence, and in measurements, it is reached
    through a callback, which wants scores of it and fills up its batches. What may answer differently when asked again
    is `randomized`; nobody knows that of a service.
    """

    def answered(keys, images):
        return np.asarray(answer(np.asarray(images), ""), np.float32)

    def scores(params, keys, images):
        shape = jax.ShapeDtypeStruct((len(images), num_classes), jnp.float32)
        return jax.pure_callback(answered, shape, jax.random.key_data(keys), images, vmap_method="sequential")

    return Model(name, (), scores, num_classes, randomized, has_gradient=False, host=answer)


def say_of_probabilities(name: str, scores: Float[np.ndarray, "n classes"]) -> None:
    """Say in one line on stderr, once a name, that a model answers with probabilities, if its scores are such rows.

    In float32 the largest round to 1, and what a score attack gains is hidden.
    """
    if (scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) < SUM_ROUNDING).all():
        _say_of_probabilities(name)


@cache
def _say_of_probabilities(name: str) -> None:
    hidden = "near 1 they round to 1 and hide what a score attack gains, so that the model looks more robust than it is"
    print(f"{name} seems to return probabilities: {hidden}; return logits", file=sys.stderr)


def keys_behind(inner: Model, keys: Key[Array, " n"]) -> Key[Array, " n"]:
    """The keys of what stands behind something that draws from `keys` itself; the same where it draws nothing."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, BEHIND_STREAM) if inner.randomized else keys
