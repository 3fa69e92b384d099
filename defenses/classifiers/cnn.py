"""A small convolutional network: on the 8×8 digits, a real victim that is cheap to query."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PyTree

from defenses.classifiers.classifier import Classifier
from defenses.classifiers.inside import scored, traced
from defenses.data.dataset import Dataset, training_images
from defenses.training.small import small_training
from defenses.training.training import Training


@dataclass(frozen=True)
class Recipe:
    """How the network is trained; `noise` is the standard deviation of the noise on training images."""

    channels: tuple[int, int] = (16, 32)
    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 4e-3
    noise: float = 0.05


class Network(nnx.Module):
    """Convolution 3×3, convolution 3×3 of stride 2, dense layer; ReLU between them."""

    def __init__(self, channels: tuple[int, int], image_shape: tuple[int, int, int], classes: int, rngs: nnx.Rngs):
        height, width, depth = image_shape
        self.first = nnx.Conv(depth, channels[0], (3, 3), rngs=rngs)
        self.second = nnx.Conv(channels[0], channels[1], (3, 3), strides=2, rngs=rngs)
        self.head = nnx.Linear(channels[1] * -(-height // 2) * -(-width // 2), classes, rngs=rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Scores of the classes."""
        features = nnx.relu(self.second(nnx.relu(self.first(images))))
        return self.head(features.reshape(len(images), -1))


def initial(recipe: Recipe, dataset: Dataset, seed: int) -> PyTree:
    """Untrained params for the images and classes of `dataset`, a nested dictionary of float32 arrays."""

    @jax.jit
    def draw():
        return nnx.to_pure_dict(nnx.split(_network(recipe, dataset, seed))[1])

    return draw()


def classifier(recipe: Recipe, dataset: Dataset, params: PyTree) -> Classifier:
    """The network with these params as a `Classifier`."""
    module, layers = traced(lambda: _network(recipe, dataset, 0))
    logits, inside = scored(layers, nnx.split(module)[0])
    return Classifier("cnn", params, logits, dataset.image_shape, len(dataset.classes), smooth=False, inside=inside)


def training(recipe: Recipe, dataset: Dataset, seed: int) -> Training:
    """By cross-entropy on `dataset`, from `seed`; seconds on a laptop for the digits."""
    logits = classifier(recipe, dataset, {}).logits

    def loss(params, key, images, labels):
        shift_key, noise_key = jax.random.split(key)
        moved = _shifted(shift_key, images)
        noisy = moved + recipe.noise * jax.random.normal(noise_key, images.shape, images.dtype)
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, noisy), labels).mean()

    return small_training(
        "cnn",
        training_images(dataset),
        lambda: initial(recipe, dataset, seed),
        loss,
        seed=seed,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
    )


def _network(recipe: Recipe, dataset: Dataset, seed: int) -> Network:
    return Network(recipe.channels, dataset.image_shape, len(dataset.classes), nnx.Rngs(seed))


def _shifted(key, images):
    """Each image moved by less than one pixel along each axis, bilinearly, zeros moving in."""
    offsets = jax.random.uniform(key, (2, len(images), 1, 1, 1), images.dtype, -1, 1)
    for axis, offset in zip((1, 2), offsets, strict=True):
        moved = jnp.where(offset > 0, _moved(images, 1, axis), _moved(images, -1, axis))
        images = (1 - jnp.abs(offset)) * images + jnp.abs(offset) * moved
    return images


def _moved(images, by, axis):
    """The images moved by `by` whole pixels along an axis."""
    widths = [(0, 0)] * images.ndim
    widths[axis] = (1, 1)
    return jax.lax.slice_in_dim(jnp.pad(images, widths), 1 - by, 1 - by + images.shape[axis], axis=axis)
