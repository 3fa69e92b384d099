"""Projected gradient descent on the pixels: the adversary of adversarial training, and the measure of its success.

Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks (2018).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key


@dataclass(frozen=True)
class Adversary:
    """ℓ∞ PGD from a uniform random start; `epsilon` (radius) and `step_size` in units of 1/255."""

    epsilon: float
    step_size: float
    steps: int


def adversary(epsilon: float, steps: int = 10) -> Adversary:
    """Steps of a quarter of the radius, as the published 2/255 for 8/255; raises ValueError outside (0, 255]."""
    if not 0 < epsilon <= 255:
        raise ValueError(f"adversarial_epsilon must lie in (0, 255], in units of 1/255, got {epsilon:g}")
    return Adversary(epsilon, epsilon / 4, steps)


def perturbed(
    logits: Callable[[Float[Array, "n h w c"]], Float[Array, "n classes"]],
    adversary: Adversary,
    key: Key[Array, ""],
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
) -> Float[Array, "n h w c"]:
    """The last iterate of ascent on the cross-entropy by gradient signs, in the ball and in the box [0, 1].

    images: (n, h, w, c) float32 in [0, 1]. `logits` must treat rows independently, so with batch norms in
    evaluation mode: an adversary then can't act through the statistics of its batch, and the running ones see
    no half-made images. Pang et al., Bag of Tricks for Adversarial Training (2021), find this mode the better.
    """
    radius, step_size = adversary.epsilon / 255, adversary.step_size / 255
    low, high = jnp.maximum(images - radius, 0), jnp.minimum(images + radius, 1)

    def loss(moved):
        scores = logits(moved).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).sum()

    def ascend(_, moved):
        return jnp.clip(moved + step_size * jnp.sign(jax.grad(loss)(moved)), low, high)

    start = images + jax.random.uniform(key, images.shape, images.dtype, -radius, radius)
    return jax.lax.fori_loop(0, adversary.steps, ascend, jnp.clip(start, low, high))
