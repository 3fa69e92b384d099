"""What a white-box attacker is shown: the loss of a defended classifier and its gradient, by one of three routes.

`through` the defence is the exact gradient of loss(classifier(defence(x))); the defence's inner values are computed
again on the way back instead of being kept (rematerialised). `around` it is BPDA (Athalye et al. 2018): forward
through the defence, backward as if it were the identity. `blind` to it is the gradient of the classifier alone, and
the classifier alone says whether the image is fooled.

Expectation over transformation (EOT, Athalye et al. 2018): the mean of the gradients of fresh draws, taken before any
sign or normalisation. The draws come one after another, in the memory of one. Selective EOT takes the mean of those
draws that are nearest to being fooled: against a defence of several ways to answer it attacks its weakest ones (after
Wang et al. 2024, DiffHammer), in the memory of all draws.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from defenses.model import Model, bare, changed
from sims.victims.oracle import Answer, Oracle, fools
from sims.white_box.channels_last import channels_last
from sims.white_box.losses import GoalLoss

ROUNDING = 1e-9  # of a share of draws: 0.28 of 25 are seven


class Slope(NamedTuple):
    """The value of an answer: loss (n,) float32, smaller is closer to success, and its gradient (n, h, w, c)."""

    loss: Float[Array, " n"]
    gradient: Float[Array, "n h w c"]


def through(model: Model) -> Model:
    """The model with an exact gradient that keeps no inner value of its defences."""
    return changed(model, jax.checkpoint)


def around(model: Model) -> Model:
    """The defences forward, the identity backward."""
    return changed(model, straight_through)


def straight_through(apply: Callable) -> Callable:
    """A defence's `apply` whose derivative is the identity."""

    def straight(params, keys, images):
        purified = apply(params, keys, jax.lax.stop_gradient(images))
        return images + jax.lax.stop_gradient(purified - images)

    return straight


ROUTES: dict[str, Callable[[Model], Model]] = {"through": through, "around": around, "blind": bare}


def gradient_oracle(model: Model, loss: GoalLoss, route: str, draws: int = 1, select: float = 1.0) -> Oracle:
    """Answers with a `Slope`, the mean of `draws` >= 1 fresh draws of the model, at as many rows a query.

    select: the share of the draws, in (0, 1] and rounded up, of which the mean is taken: those of least loss.
    route: a name of ROUTES. labels of the queries: goals (n, 2), the true class and a rival. A row is fooled when its
    class is not the true one, in most of the draws. Raises ValueError for draws < 1, or a model that has no gradient.
    """
    if draws < 1:
        raise ValueError(f"draws must be >= 1, got {draws}")
    seen = ROUTES[route](model)
    if not seen.has_gradient:
        culprit = model.name if bare(model).has_gradient else bare(model).name
        raise ValueError(f"{culprit} runs on the host and has no gradient, which a white-box attack needs")

    @channels_last
    def answer(params, keys, images, goals):
        def total(images):
            scores = seen.scores(params, keys, images)
            losses = loss(scores, goals)
            return losses.sum(), (losses, fools(jnp.argmax(scores, axis=-1), goals[:, 0], False))

        gradient, (losses, fooled) = jax.grad(total, has_aux=True)(images)
        return Slope(losses, gradient), fooled

    def query(params, keys, images, goals):
        if draws == 1:
            return Answer(*answer(params, keys, images, goals))
        each = jax.vmap(lambda key: jax.random.split(key, draws), out_axes=1)(keys)
        kept = math.ceil(select * draws - ROUNDING)
        if kept < draws:
            slopes, fooled = jax.lax.map(lambda keys: answer(params, keys, images, goals), each)
            return Answer(_mean_of_least(kept, slopes), 2 * fooled.sum(axis=0) > draws)
        nothing = jnp.zeros(len(images), jnp.float32)

        def add(sums, keys):
            return jax.tree.map(jnp.add, sums, answer(params, keys, images, goals)), None

        (slope, fooled), _ = jax.lax.scan(add, (Slope(nothing, jnp.zeros_like(images)), nothing.astype(int)), each)
        return Answer(jax.tree.map(lambda total: total / draws, slope), 2 * fooled > draws)

    return Oracle("gradient", seen.params, query, jax.random.split, draws, seen.num_classes)


def _mean_of_least(kept: int, slopes: Slope) -> Slope:
    """The mean over the draws, the first axis, of least loss, for each row its own."""
    least = jnp.argsort(slopes.loss, axis=0)[:kept]
    return Slope(
        jnp.take_along_axis(slopes.loss, least, axis=0).mean(axis=0),
        jnp.take_along_axis(slopes.gradient, least[..., None, None, None], axis=0).mean(axis=0),
    )
