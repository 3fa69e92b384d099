"""Projected gradient descent on the pixels: the adversary of adversarial training, and the measure of its success.

Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks (2018).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

Images = Float[Array, "n h w c"]


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


FAST = Adversary(8, 10, 1)
"""One step from a random start: Wong et al., Fast Is Better Than Free (2020), section 4, on CIFAR-10."""


class Ascent(NamedTuple):
    """An adversary of one network, in jitted functions for the host to call: XLA's loops slow convolutions on a CPU.

    start: (key, images) -> the random start. climb: (params, images, labels, moved) -> the next iterate after `moved`.
    """

    steps: int
    start: Callable[[Key[Array, ""], Images], Images]
    climb: Callable[[PyTree, Images, Int[Array, " n"], Images], Images]

    def perturbed(self, params: PyTree, key: Key[Array, ""], images: Images, labels: Int[Array, " n"]) -> Images:
        """The last iterate, in the ball around `images` and in the box [0, 1]; (n, h, w, c) float32 as `images`."""
        moved = self.start(key, images)
        for _ in range(self.steps):
            moved = self.climb(params, images, labels, moved)
        return moved


def ascent(logits: Callable[[PyTree, Images], Float[Array, "n classes"]], adversary: Adversary) -> Ascent:
    """Ascent on the cross-entropy of `logits(params, images)` by gradient signs.

    `logits` must treat rows independently, so with batch norms in evaluation mode: an adversary then can't act
    through the statistics of its batch, and the running ones see no half-made images. Pang et al., Bag of Tricks
    for Adversarial Training (2021), find this mode the better.
    """
    radius, step_size = adversary.epsilon / 255, adversary.step_size / 255

    def loss(moved, params, labels):
        scores = logits(params, moved).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).sum()

    def projected(moved, images):
        return jnp.clip(moved, jnp.maximum(images - radius, 0), jnp.minimum(images + radius, 1))

    @jax.jit
    def start(key, images):
        return projected(images + jax.random.uniform(key, images.shape, images.dtype, -radius, radius), images)

    @jax.jit
    def climb(params, images, labels, moved):
        return projected(moved + step_size * jnp.sign(jax.grad(loss)(moved, params, labels)), images)

    return Ascent(adversary.steps, start, climb)
