"""What white-box attacks lower: losses of the scores at goals (n, 2), the class to leave and a rival to go to.

Smaller is closer to success, as in `sims.victims.losses`; only the targeted DLR loss looks at the rival.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sims.victims.losses import log_likelihood, margin_loss

Goals = Int[Array, "n 2"]
GoalLoss = Callable[[Float[Array, "n classes"], Goals], Float[Array, " n"]]
NOT_ZERO = 1e-12  # scores that are all equal leave the ratios at 0


def cross_entropy(scores: Float[Array, "n classes"], goals: Goals) -> Float[Array, " n"]:
    """The log-likelihood of the class to leave, at most 0: the cross-entropy, turned round."""
    return log_likelihood(scores, goals[:, 0])


def dlr(scores: Float[Array, "n classes"], goals: Goals) -> Float[Array, " n"]:
    """Difference of logits ratio: the margin over the distance of the best and the third best score.

    It does not change when the scores are shifted or scaled. Raises ValueError for fewer than 3 classes.
    Source: Croce & Hein (2020), equation 6, turned round.
    """
    ordered = _ordered(scores, 3)
    return margin_loss(scores, goals[:, 0]) / (ordered[:, -1] - ordered[:, -3] + NOT_ZERO)


def dlr_targeted(scores: Float[Array, "n classes"], goals: Goals) -> Float[Array, " n"]:
    """The lead of the class to leave over the rival, over the distance of the best score and the third and fourth.

    Raises ValueError for fewer than 4 classes. Source: Croce & Hein (2020), equation 7, turned round.
    """
    ordered = _ordered(scores, 4)
    lead = jnp.take_along_axis(scores, goals[:, :1], axis=-1) - jnp.take_along_axis(scores, goals[:, 1:], axis=-1)
    return lead[:, 0] / (ordered[:, -1] - (ordered[:, -3] + ordered[:, -4]) / 2 + NOT_ZERO)


def _ordered(scores: Float[Array, "n classes"], fewest: int) -> Float[Array, "n classes"]:
    """The scores of every row, ascending."""
    if scores.shape[-1] < fewest:
        raise ValueError(f"scores must be of >= {fewest} classes for this loss, got {scores.shape[-1]}")
    return jnp.sort(scores, axis=-1)
