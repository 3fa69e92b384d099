"""What an attacker can see: an oracle answers rows of images and counts nothing, hides everything.

An `Oracle` is the only door to a victim. It draws the defence's randomness itself, one key per row, so that no
attack can choose, repeat or reach it; `paired` and `averaged` are the two other oracles of the literature, made
from a given one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from defenses.classifiers.classifier import Classifier
from defenses.defense import Defense
from sims.losses import margin_loss

Loss = Callable[[Float[Array, "n classes"], Int[Array, " n"]], Float[Array, " n"]]


class Answer(NamedTuple):
    """What comes back for each row.

    value: the feedback: scores (n, classes) float32, loss (n,) float32 or label (n,) int32.
    fooled: (n,) bool, whether the row's predicted class differs from the true label.
    """

    value: Shaped[Array, "n ..."]
    fooled: Bool[Array, " n"]


class Oracle(NamedTuple):
    """A victim behind its interface.

    feedback: "scores", "loss" or "label".
    params: the victim's parameters, an argument of `query` so that compiled code does not embed them.
    query: (params, keys (n,), images (n, ...) float32, labels (n,) int32) -> Answer.
    draw: (key, n) -> keys (n,): the defence's randomness for the n rows of one step of one image.
    rows_per_query: rows the network evaluates for one answer (1, or n for `averaged`).
    num_classes: labels are below it; None for an objective that has no classes.
    """

    feedback: str
    params: Any
    query: Callable[[Any, Key[Array, " n"], Float[Array, "n ..."], Int[Array, " n"]], Answer]
    draw: Callable[[Key[Array, ""], int], Key[Array, " n"]]
    rows_per_query: int
    num_classes: int | None = None


def victim_scores(classifier: Classifier, defense: Defense):
    """The defended classifier as (params, keys (n,), images (n, h, w, c)) -> scores (n, classes)."""

    def scores(params, keys, images):
        defense_params, classifier_params = params
        return classifier.logits(classifier_params, defense.apply(defense_params, keys, images))

    return scores


def score_oracle(classifier: Classifier, defense: Defense) -> Oracle:
    """Answers with all class scores (logits)."""
    return _oracle("scores", classifier, defense, lambda scores, labels: scores)


def loss_oracle(classifier: Classifier, defense: Defense, loss: Loss = margin_loss) -> Oracle:
    """Answers with one number per row, by default the margin loss."""
    return _oracle("loss", classifier, defense, loss)


def label_oracle(classifier: Classifier, defense: Defense) -> Oracle:
    """Answers with the predicted class only (decision-based attacks)."""
    return _oracle("label", classifier, defense, lambda scores, labels: jnp.argmax(scores, -1).astype(jnp.int32))


def _oracle(feedback: str, classifier: Classifier, defense: Defense, reveal) -> Oracle:
    scores_of = victim_scores(classifier, defense)

    def query(params, keys, images, labels):
        scores = scores_of(params, keys, images)
        return Answer(reveal(scores, labels), jnp.argmax(scores, axis=-1) != labels)

    return Oracle(feedback, (defense.params, classifier.params), query, jax.random.split, 1, classifier.num_classes)


def paired(oracle: Oracle) -> Oracle:
    """Common random numbers: all rows of one step of one image share one draw of the defence.

    A stronger attacker than any real one, and the oracle that most zeroth-order theory silently assumes (THEORY §0).
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
            majority = _majority(value)
            return Answer(majority, majority != labels)
        mean = value.mean(axis=1)
        most = 2 * fooled.sum(axis=1) > repeats
        return Answer(mean, mean.argmax(axis=-1) != labels if oracle.feedback == "scores" else most)

    return oracle._replace(query=query, rows_per_query=oracle.rows_per_query * repeats)


def _majority(labels: Int[Array, "n repeats"]) -> Int[Array, " n"]:
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=-1)
    return jnp.take_along_axis(labels, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
