"""How a classifier is trained: the numbers that stand beside a network, and the optimizer that they give."""

from dataclasses import dataclass

import jax
import optax
from jaxtyping import PyTree

from defenses.data.dataset import Dataset, Split, training_images
from defenses.training.adversarial import Adversary
from defenses.training.augmentation import AUGMENTATIONS
from defenses.training.schedules import SCHEDULES

MOST_EPOCHS = 100_000  # steps are counted in 32 bits
MOMENTUM = 0.9
OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Recipe:
    """Descent on the cross-entropy.

    epochs: passes over the training images, ≥ 1; each leaves out the last, partial batch.
    batch_size: images per step. learning_rate: the schedule's highest.
    weight_decay: of all weights, scales and biases under "sgd", of the weights alone under "adamw".
    schedule and augmentation: names in their tables.
    adversary: trains on its images in place of the clean ones; None trains on clean ones.
    optimizer: "sgd", with Nesterov momentum 0.9, or "adamw".
    average: decay in [0, 1) of the moving average of the params that is the result; 0: the last params.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: str
    augmentation: str = "none"
    adversary: Adversary | None = None
    optimizer: str = "sgd"
    average: float = 0.0


def optimizer_of(recipe: Recipe, steps_per_epoch: int, trainable: PyTree) -> optax.GradientTransformation:
    """The recipe's optimizer and schedule for params of which `trainable` says True where descent moves them.

    Sources: Nesterov momentum as in He et al. (2016) and its successors; Loshchilov and Hutter, Decoupled Weight Decay
    Regularization (2019), on matrices and kernels alone, as vision transformers are trained.
    """
    schedule = SCHEDULES[recipe.schedule](recipe.learning_rate, recipe.epochs * steps_per_epoch, steps_per_epoch)
    if recipe.optimizer == "adamw":
        return optax.adamw(schedule, weight_decay=recipe.weight_decay, mask=_kernels)
    decay = optax.add_decayed_weights(recipe.weight_decay, trainable)
    return optax.chain(decay, optax.sgd(schedule, MOMENTUM, nesterov=True))


def trainable_split(recipe: Recipe, dataset: Dataset) -> Split:
    """What the recipe trains on; raises ValueError when there is nothing, or its numbers are out of range."""
    split = training_images(dataset)
    check(recipe, len(split.labels))
    return split


def check(recipe: Recipe, images: int) -> None:
    """Raise ValueError unless the recipe's numbers allow training on that many images."""
    if not 1 <= recipe.epochs <= MOST_EPOCHS:
        raise ValueError(f"epochs must be in [1, {MOST_EPOCHS}], got {recipe.epochs}")
    if not 1 <= recipe.batch_size <= images:
        raise ValueError(f"batch_size must lie in 1..{images}, the training images, got {recipe.batch_size}")
    if not 0 < recipe.learning_rate < float("inf"):
        raise ValueError(f"learning_rate must be > 0 and finite, got {recipe.learning_rate:g}")
    if not 0 <= recipe.weight_decay < float("inf"):
        raise ValueError(f"weight_decay must be ≥ 0 and finite, got {recipe.weight_decay:g}")
    if not 0 <= recipe.average < 1:
        raise ValueError(f"average must lie in [0, 1), got {recipe.average:g}")
    for name, table in (("schedule", SCHEDULES), ("augmentation", AUGMENTATIONS), ("optimizer", OPTIMIZERS)):
        if getattr(recipe, name) not in table:
            raise ValueError(f"{name} must be one of {', '.join(table)}, got {getattr(recipe, name)!r}")


def _kernels(params: PyTree) -> PyTree:
    """True for matrices and convolutions, False for biases, scales and the like."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
