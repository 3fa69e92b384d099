"""The steps of training and of testing, with weights and images of a split kept on the device."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Num, PyTree

from defenses.classifiers.architecture import Architecture
from defenses.classifiers.classifier import Classifier
from defenses.classifiers.network import network_classifier, trainable, training_logits
from defenses.data.dataset import Bytes, Split
from defenses.data.normalization import Normalization
from defenses.training.adversarial import Ascent, ascent
from defenses.training.augmentation import AUGMENTATIONS
from defenses.training.recipe import Recipe
from defenses.training.schedules import SCHEDULES

MOMENTUM = 0.9


class Network(NamedTuple):
    """What is trained: an architecture for images of one shape, behind its normalisation."""

    name: str
    architecture: Architecture
    image_shape: tuple[int, int, int]
    num_classes: int
    normalization: Normalization

    def classifier(self, params: PyTree) -> Classifier:
        """The classifier with these params, batch norms in evaluation mode."""
        return network_classifier(
            self.name, self.architecture, params, self.image_shape, self.num_classes, self.normalization
        )

    def computing_in(self, dtype: str) -> "Network":
        """The same network with its layers' arithmetic in `dtype`; params and batch statistics stay float32."""

        def build(*arguments):
            module = self.architecture.build(*arguments)
            module.set_attributes(dtype=jnp.dtype(dtype), raise_if_not_found=False)
            return module

        return self._replace(architecture=self.architecture._replace(build=build))


class Rows(NamedTuple):
    """A split on the device: pixels (n, h, w, c) uint8 in 0..255 or float32 in [0, 1]; labels (n,) int32."""

    pixels: Num[Array, "n h w c"]
    labels: Int[Array, " n"]


class State(NamedTuple):
    """What the next step needs: params and the optimiser's momenta (float32), and the steps done (int32)."""

    params: PyTree
    optimiser: PyTree
    step: Int[Array, ""]


class Sums(NamedTuple):
    """Over the images seen in this epoch: their cross-entropies, float32, and how many were right, int32."""

    loss: Float[Array, ""]
    correct: Int[Array, ""]


class Steps(NamedTuple):
    """Jitted functions of one network, recipe and key; `train` calls them from the host.

    start: (params) -> state before the first step.
    order: (epoch) -> (images,) int32, the rows of that epoch in its order.
    batch: (step, order, rows) -> the adversary's key, augmented images (n, h, w, c) float32 in [0, 1], labels (n,).
    ascent: the adversary, None without one.
    update: (state, sums, images, labels) -> state and sums after one batch of those images.
    """

    start: Callable[[PyTree], State]
    order: Callable[[int], Int[Array, " n"]]
    batch: Callable[[Int[Array, ""], Int[Array, " n"], Rows], tuple[Key[Array, ""], Array, Array]]
    ascent: Ascent | None
    update: Callable[[State, Sums, Array, Array], tuple[State, Sums]]

    def train(self, state: State, sums: Sums, order: Int[Array, " n"], rows: Rows) -> tuple[State, Sums]:
        """State and sums after the next batch of `order`, perturbed if there is an adversary."""
        key, images, labels = self.batch(state.step, order, rows)
        if self.ascent is not None:
            images = self.ascent.perturbed(state.params, key, images, labels)
        return self.update(state, sums, images, labels)


def precision() -> str:
    """The dtype of training's activations: bfloat16 on accelerators, float32 on a CPU, which has no fast bfloat16."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def on_device(split: Split) -> Rows:
    """The split on the device, as bytes where it holds bytes."""
    pixels = split.images.pixels if isinstance(split.images, Bytes) else split.images[:]
    return Rows(*jax.device_put((pixels, split.labels)))


def steps_per_epoch(recipe: Recipe, images: int) -> int:
    """Full batches in that many images."""
    return images // recipe.batch_size


def training_steps(network: Network, recipe: Recipe, images: int, key: Key[Array, ""]) -> Steps:
    """The steps of training on that many images; every draw comes from `key`, the epoch's and the step's number.

    Params, momenta, batch statistics and the loss are float32 whatever the network computes in.
    """
    order_key, step_key = jax.random.split(key)
    per_epoch = steps_per_epoch(recipe, images)
    schedule = SCHEDULES[recipe.schedule](recipe.learning_rate, recipe.epochs * per_epoch, per_epoch)
    shape = (network.architecture, network.image_shape, network.num_classes)
    mask = trainable(*shape)
    optimiser = optax.chain(
        optax.add_decayed_weights(recipe.weight_decay, mask), optax.sgd(schedule, MOMENTUM, nesterov=True)
    )
    scores_of = training_logits(*shape, network.normalization)
    adversary, evaluate = recipe.adversary, network.classifier({}).logits
    augment = AUGMENTATIONS[recipe.augmentation]

    def loss(params, images, labels):
        scores, updated = scores_of(params, images)
        scores = scores.astype(jnp.float32)
        entropy = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        return entropy, (updated, (scores.argmax(-1) == labels).sum())

    @jax.jit
    def start(params):
        return State(params, optimiser.init(params), jnp.int32(0))

    @jax.jit
    def order(epoch):
        return jax.random.permutation(jax.random.fold_in(order_key, epoch), images)

    @jax.jit
    def batch(step, order, rows):
        augment_key, attack_key = jax.random.split(jax.random.fold_in(step_key, step))
        numbers = jax.lax.dynamic_slice_in_dim(order, step % per_epoch * recipe.batch_size, recipe.batch_size)
        return attack_key, _unit(augment(augment_key, rows.pixels[numbers])), rows.labels[numbers]

    @jax.jit
    def update(state, sums, images, labels):
        (entropy, (updated, correct)), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, images, labels)
        updates, momenta = optimiser.update(gradient, state.optimiser, state.params)
        moved = optax.apply_updates(state.params, updates)
        params = jax.tree.map(lambda learns, new, seen: new if learns else seen, mask, moved, updated)
        sums = Sums(sums.loss + recipe.batch_size * entropy, sums.correct + correct)
        return State(params, momenta, state.step + 1), sums

    return Steps(start, order, batch, None if adversary is None else ascent(evaluate, adversary), update)


def measuring_step(network: Network, batch_size: int) -> Callable[[PyTree, Rows], float]:
    """The function (params, rows) -> share of rows classified correctly, NaN if a score is not finite."""
    logits = network.classifier({}).logits

    @jax.jit
    def correct(params, rows, start):
        numbers = start + jnp.arange(batch_size)
        inside = numbers < len(rows.labels)
        batch = jnp.minimum(numbers, len(rows.labels) - 1)
        scores = logits(params, _unit(rows.pixels[batch]))
        right = (inside & (scores.argmax(-1) == rows.labels[batch])).sum()
        return jnp.where(jnp.isfinite(scores).all(), right.astype(jnp.float32), jnp.nan)

    def share(params, rows):
        return sum(float(correct(params, rows, s)) for s in range(0, len(rows.labels), batch_size)) / len(rows.labels)

    return share


def _unit(pixels):
    """Bytes as float32 in [0, 1]; floats as they are."""
    return pixels.astype(jnp.float32) / 255 if pixels.dtype == jnp.uint8 else pixels
