"""Learning to classify: the training of a network by cross-entropy, after a recipe."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from defenses.classifiers.network import Network
from defenses.data.dataset import Dataset
from defenses.training.adversarial import ascent
from defenses.training.augmentation import AUGMENTATIONS
from defenses.training.batches import Rows, on_device, shuffled, unit
from defenses.training.recipe import Recipe, optimizer_of, trainable_split
from defenses.training.training import Seen, Training


def learning(network: Network, recipe: Recipe, dataset: Dataset, seed: int) -> Training:
    """The training of that network: initial weights, the order of an epoch and the draws of a step follow from `seed`.

    Params, momenta, batch statistics and the loss are float32; layers compute in bfloat16 on accelerators. Its figures
    are "accuracy", on its own augmented, perhaps perturbed images, and "test_accuracy" after each epoch.
    Raises as `trainable_split` does.
    """
    split = trainable_split(recipe, dataset)
    dtype = precision()
    computing, trainable = network.computing_in(dtype), network.trainable()
    augment = AUGMENTATIONS[recipe.augmentation]
    batches = shuffled(jax.random.key(seed), len(split.labels), recipe.batch_size, augment)
    evaluated = computing.classifier({}).logits
    return Training(
        name=network.name,
        split=split,
        initial=lambda: network.initial(seed),
        batches=batches,
        steps=recipe.epochs * batches.steps,
        loss=cross_entropy(computing),
        optimizer=optimizer_of(recipe, batches.steps, trainable),
        trainable=trainable,
        average=recipe.average,
        ascent=None if recipe.adversary is None else ascent(evaluated, recipe.adversary),
        evaluate=held_out(computing, dataset, recipe.batch_size),
        precision=dtype,
    )


def precision() -> str:
    """The dtype of training's activations: bfloat16 on accelerators, float32 on a CPU, which has no fast bfloat16."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def cross_entropy(network: Network) -> Callable:
    """The loss of a `Training`, in training mode; its scores count as float32 whatever the network computes in."""
    logits = network.training_logits()

    def loss(params, key, images, labels):
        scores, updated = logits(params, images)
        scores = scores.astype(jnp.float32)
        entropy = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        return entropy, Seen(updated, {"accuracy": (scores.argmax(-1) == labels).mean(dtype=jnp.float32)})

    return loss


def held_out(network: Network, dataset: Dataset, batch_size: int) -> Callable[[PyTree], Mapping[str, float]]:
    """The function (params) -> the share of test images classified correctly, NaN if a score is not finite."""
    rows, share = on_device(dataset.test), share_of_rows(network, batch_size)
    return lambda params: {"test_accuracy": share(params, rows)}


def share_of_rows(network: Network, batch_size: int) -> Callable[[PyTree, Rows], float]:
    """The function (params, rows) -> share of rows classified correctly, NaN if a score is not finite."""
    logits = network.classifier({}).logits

    @jax.jit
    def correct(params, rows, start):
        numbers = start + jnp.arange(batch_size)
        inside = numbers < len(rows.labels)
        batch = jnp.minimum(numbers, len(rows.labels) - 1)
        scores = logits(params, unit(rows.pixels[batch]))
        right = (inside & (scores.argmax(-1) == rows.labels[batch])).sum()
        return jnp.where(jnp.isfinite(scores).all(), right.astype(jnp.float32), jnp.nan)

    def share(params, rows):
        starts = range(0, len(rows.labels), batch_size)
        return math.fsum(float(correct(params, rows, start)) for start in starts) / len(rows.labels)

    return share
