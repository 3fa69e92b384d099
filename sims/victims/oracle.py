"""What an attacker can see: an oracle answers rows of images and counts nothing, hides everything.

An `Oracle` is the only door to a victim. It draws the defence's randomness itself, one key per row, so that no
attack can choose, repeat or reach it; `paired` and `averaged` are the two other oracles of the literature, made
from a given one.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from defenses.model import Model
from sims.victims.losses import margin_loss

Loss = Callable[[Float[Array, "n classes"], Int[Array, " n"]], Float[Array, " n"]]


class Answer(NamedTuple):
    """What comes back for each row.

    value: the feedback: scores (n, classes) float32, loss (n,) float32 or label (n,) int32; to a white-box attack a
        record of such arrays.
    fooled: (n,) bool, whether the row's predicted class differs from the true label, or is the target.
    """

    value: Any
    fooled: Bool[Array, " n"]


class Oracle(NamedTuple):
    """A victim behind its interface.

    feedback: "scores", "loss" or "label"; "gradient" is for white-box attacks alone.
    params: the victim's parameters, an argument of `query` so that compiled code does not embed them.
    query: (params, keys (n,), images (n, ...) float32, labels (n,) int32) -> Answer; labels: the true classes, or
        the targets of a targeted oracle.
    draw: (key, n) -> keys (n,): the defence's randomness for the n rows of one step of one image.
    rows_per_query: rows the network evaluates for one answer (1, or n for `averaged`).
    num_classes: labels are below it; None for an objective that has no classes.
    targeted: a row fools when its class is its label, and the loss is turned round.
    """

    feedback: str
    params: Any
    query: Callable[[Any, Key[Array, " n"], Float[Array, "n ..."], Int[Array, " n"]], Answer]
    draw: Callable[[Key[Array, ""], int], Key[Array, " n"]]
    rows_per_query: int
    num_classes: int | None = None
    targeted: bool = False


def oracle_of(
    model: Model, feedback: str, *, targeted: bool = False, loss: Loss = margin_loss, average: int = 1
) -> Oracle:
    """What an attacker sees of the model: "scores" (logits), "loss" (of the margin by default) or "label".

    targeted: a row fools when its class is its label, and the loss is turned round. average: fresh answers that every
    answer is the mean of, see `averaged`. Raises ValueError for another feedback or fewer than one answer.
    """
    query = _query(model.scores, feedback, loss, targeted)
    oracle = Oracle(feedback, model.params, query, jax.random.split, 1, model.num_classes, targeted)
    return averaged(oracle, average) if average > 1 else oracle


@functools.lru_cache
def _query(scores_of: Callable, feedback: str, loss: Loss, targeted: bool):
    """The same function for the same model and feedback, so that what was compiled for one oracle serves all."""
    reveal = reveal_of(feedback, loss, targeted)

    def query(params, keys, images, labels):
        scores = scores_of(params, keys, images)
        return Answer(reveal(scores, labels), fools(jnp.argmax(scores, axis=-1), labels, targeted))

    return query


def reveal_of(feedback: str, loss: Loss, targeted: bool):
    """The function (scores, labels) -> feedback; ValueError for an unknown feedback."""
    ways = {"scores": revealed_scores, "loss": revealed_loss(loss, targeted), "label": revealed_label}
    if feedback not in ways:
        raise ValueError(f"feedback must be {', '.join(ways)}, got {feedback!r}")
    return ways[feedback]


def revealed_scores(scores, labels):
    """All of them."""
    return scores


def revealed_loss(loss: Loss, targeted: bool) -> Loss:
    """The loss of the label, which an attacker lowers: turned round where the label is a target."""
    return lambda scores, labels: -loss(scores, labels) if targeted else loss(scores, labels)


def revealed_label(scores, labels):
    """The predicted class; -1 where the scores are not finite."""
    known = jnp.all(jnp.isfinite(scores), axis=-1)
    return jnp.where(known, jnp.argmax(scores, -1), -1).astype(jnp.int32)


def known(answer: Answer) -> Bool[Array, "..."]:
    """The rows whose value is finite, or a class: a label below 0 stands for scores that were not finite."""

    def holds(part):
        finite = jnp.isfinite(part) if jnp.issubdtype(part.dtype, jnp.floating) else part >= 0
        return finite.all(axis=tuple(range(answer.fooled.ndim, part.ndim)))

    return functools.reduce(jnp.logical_and, map(holds, jax.tree.leaves(answer.value)))


def fools(predicted: Int[Array, " n"], labels: Int[Array, " n"], targeted: bool) -> Bool[Array, " n"]:
    """Whether each row's class is what the attacker wants: another than its label, or its target."""
    return predicted == labels if targeted else predicted != labels


def paired(oracle: Oracle) -> Oracle:
    """Common random numbers: all rows of one step of one image share one draw of the defence.

    A stronger attacker than any real one, and the oracle that most zeroth-order theory silently assumes.
    """

    def draw(key, n):
        return jnp.broadcast_to(oracle.draw(key, 1), (n,))

    return oracle._replace(draw=draw)


def averaged(oracle: Oracle, repeats: int) -> Oracle:
    """Each answer is the mean of `repeats` fresh ones (label: their majority), at `repeats` rows a query.

    A row counts as fooled by the pooled answer: the best class of the mean scores, or the majority label; a loss has
    no class, so there most of the repeats must be fooled.

    Raises ValueError when repeats < 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be >= 1, got {repeats}")

    def query(params, keys, images, labels):
        each = jax.vmap(lambda key: oracle.draw(key, repeats))(keys).reshape(-1)
        answers = oracle.query(params, each, jnp.repeat(images, repeats, axis=0), jnp.repeat(labels, repeats))
        value, fooled = (part.reshape(len(labels), repeats, *part.shape[1:]) for part in answers)
        if oracle.feedback == "label":
            majority = jnp.where((value < 0).any(axis=1), -1, _majority(value))  # one unknown label is not outvoted
            return Answer(majority, fools(majority, labels, oracle.targeted))
        mean = value.mean(axis=1)
        most = 2 * fooled.sum(axis=1) > repeats
        best = fools(mean.argmax(axis=-1), labels, oracle.targeted) if oracle.feedback == "scores" else most
        return Answer(mean, best)

    return oracle._replace(query=query, rows_per_query=oracle.rows_per_query * repeats)


def _majority(labels: Int[Array, "n repeats"]) -> Int[Array, " n"]:
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=-1)
    return jnp.take_along_axis(labels, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
