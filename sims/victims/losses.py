"""Losses of a classifier's scores, seen from the attacker: smaller is closer to success."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def margin_loss(scores: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    """Score of the true class minus the best other score; negative only when the row is misclassified.

    Zero is a tie; it counts as misclassified when the true class is not the first of the best.

    Source: Carlini & Wagner (2017), the loss of Square and of NES in the score-based literature.
    """
    true_class = jax.nn.one_hot(labels, scores.shape[-1], dtype=bool)
    best_other = jnp.max(jnp.where(true_class, -jnp.inf, scores), axis=-1)
    return jnp.sum(jnp.where(true_class, scores, 0), axis=-1) - best_other


def log_likelihood(scores: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    """Log-probability of the true class (minus the cross-entropy): smooth, at most 0."""
    return jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=-1)[:, 0]
