"""The loss around an image, along the gradient and across it: smooth where gradients can be trusted."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from defenses.model import Model
from sims.attacks.ball import Norm, unit
from sims.measurements.fresh_draws import summed_scores
from sims.victims.losses import margin_loss
from sims.victims.oracle import oracle_of
from sims.white_box.gradients import gradient_oracle
from sims.white_box.losses import cross_entropy


def loss_surface(
    key: Key[Array, ""],
    model: Model,
    norm: Norm,
    image: Float[np.ndarray, "h w c"],
    label: int,
    offsets: Float[np.ndarray, " points"],
    draws: int,
    tile: int,
) -> Float[np.ndarray, "points points"]:
    """Margin of the mean scores over `draws` >= 1 fresh draws at image + a g + b r, a down and b across.

    offsets: the values of a and of b, pixel units. g: step of length 1 down the gradient of the log-likelihood through
    the defence, the mean of as many draws, and nothing where that gradient is zero; r: the same of a random image with
    entries ±1. Points may leave the box, so that the surface is not bent by it.
    """
    gradients, across, judged = jax.random.split(key, 3)
    oracle = gradient_oracle(model, cross_entropy, "through", draws)
    goals = jnp.full((1, 2), label, jnp.int32)
    slope = oracle.query(oracle.params, oracle.draw(gradients, 1), jnp.asarray(image)[None], goals).value
    g = np.asarray(unit(norm, -slope.gradient[0]))
    r = np.asarray(unit(norm, jax.random.rademacher(across, image.shape, jnp.float32)))
    points = image + _steps(offsets, g)[:, None] + _steps(offsets, r)[None]
    flat = points.reshape(-1, *image.shape).astype(np.float32)
    scores = summed_scores(judged, oracle_of(model, "scores"), flat, draws, tile) / draws
    margins = margin_loss(jnp.asarray(scores), jnp.full(len(flat), label))
    return np.asarray(margins).reshape(len(offsets), len(offsets))


def _steps(offsets, direction):
    return offsets[:, None, None, None] * direction
