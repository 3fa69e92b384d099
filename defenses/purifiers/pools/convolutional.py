"""Light residual convolutional purifiers, each trained to undo its own perturbation.

m(x) = x + C₂ φ(C₁ x), two 3×3 convolutions with biases and the smooth φ(t) = t/√(1 + t²). The convolutions
are written as matrix products over shifted images: under `vmap` over members on a CPU, all eight then cost
less than three.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset, training_images
from defenses.purifiers.pools.family import PurifierFamily, family_of
from defenses.purifiers.pools.perturbations import PERTURBATIONS
from defenses.training.small import small_training
from defenses.training.training import Training

NAME = "purifier"


@dataclass(frozen=True)
class Recipe:
    """How the family is trained: member k undoes perturbations of kind and largest amplitude `members[k]`.

    windows: 3×3 windows in one step, 64 images of 8×8 pixels; a step never has fewer than `images` images.
    """

    members: tuple[tuple[str, float], ...] = (
        ("gaussian", 0.15),
        ("uniform", 0.25),
        ("signs", 0.15),
        ("fast-gradient-sign", 0.2),
        ("gaussian", 0.4),
        ("uniform", 0.6),
        ("signs", 0.35),
        ("fast-gradient-sign", 0.5),
    )
    hidden: int = 8
    steps: int = 600
    windows: int = 4096
    images: int = 8
    learning_rate: float = 1e-2


def purify(params: PyTree, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """One member's output m(x), zeros beyond the border."""
    _, height, width, channels = images.shape
    hidden = jnp.concatenate(_windows(images), axis=-1) @ params["first"]["kernel"] + params["first"]["bias"]
    hidden = hidden / jnp.sqrt(1 + hidden**2)
    spread = (hidden @ params["second"]["kernel"]).reshape(len(images), height, width, 9, channels)
    update = sum(window[..., at, :] for at, window in enumerate(_windows(spread)))
    return images + update + params["second"]["bias"]


def initial(recipe: Recipe, channels: int, seed: int) -> PyTree:
    """Untrained params of all members, float32, leading axis K; the last layer starts small, so m(x) ≈ x."""

    def one(key):
        first, second = jax.random.split(key)
        return {
            "first": _layer(first, 9 * channels, recipe.hidden, recipe.hidden, 1.0),
            "second": _layer(second, recipe.hidden, 9 * channels, channels, 0.1),
        }

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), len(recipe.members)))


def family(recipe: Recipe, params: PyTree) -> PurifierFamily:
    """The family with these params."""
    return family_of(NAME, params, purify, len(recipe.members))


def training(recipe: Recipe, dataset: Dataset, victim: Classifier, seed: int) -> Training:
    """Of all members together, to minimise the mean squared distance to the clean images.

    For each member, each image is perturbed with an amplitude uniform on [0, the member's largest], so that
    clean images stay put. `victim` is the classifier that gradient-sign perturbations attack.
    """
    kinds, largest = zip(*recipe.members, strict=True)
    largest = jnp.asarray(largest, jnp.float32).reshape(-1, 1, 1, 1, 1)

    def loss(params, key, images, labels):
        amplitude_key, *keys = jax.random.split(key, 1 + len(PERTURBATIONS))
        directions = {
            kind: perturb(k, victim, images, labels)
            for k, (kind, perturb) in zip(keys, PERTURBATIONS.items(), strict=True)
        }
        amplitudes = largest * jax.random.uniform(amplitude_key, (len(kinds), len(images), 1, 1, 1), images.dtype)
        inputs = images + amplitudes * jnp.stack([directions[kind] for kind in kinds])
        return jnp.square(jax.vmap(purify)(params, inputs) - images).mean((1, 2, 3, 4)).sum()

    return small_training(
        "purifiers",
        training_images(dataset),
        lambda: initial(recipe, dataset.image_shape[-1], seed),
        loss,
        seed=seed,
        steps=recipe.steps,
        batch_size=max(recipe.images, recipe.windows // math.prod(dataset.image_shape[:2])),
        learning_rate=recipe.learning_rate,
    )


def _layer(key, inputs: int, outputs: int, biases: int, scale: float):
    kernel = scale / inputs**0.5 * jax.random.normal(key, (inputs, outputs), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros(biases, jnp.float32)}


def _windows(images):
    """The nine images shifted by at most one pixel along each axis, zeros moving in."""
    _, height, width = images.shape[:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1)) + ((0, 0),) * (images.ndim - 3))
    return [padded[:, a : a + height, b : b + width] for a in range(3) for b in range(3)]
