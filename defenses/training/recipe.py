"""How a classifier is trained, and this project's recipes per architecture and data set."""

from dataclasses import dataclass, replace

from defenses.data.dataset import Dataset, Split, training_images
from defenses.training.adversarial import Adversary
from defenses.training.augmentation import AUGMENTATIONS
from defenses.training.schedules import SCHEDULES

MOST_EPOCHS = 100_000  # steps are counted in 32 bits


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum 0.9 on the cross-entropy.

    epochs: passes over the training images, ≥ 1; each leaves out the last, partial batch.
    batch_size: images per step. learning_rate: the schedule's highest.
    weight_decay: of all weights, scales and biases. schedule and augmentation: names in their tables.
    adversary: trains on its images in place of the clean ones; None trains on clean ones.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: str
    augmentation: str = "none"
    adversary: Adversary | None = None


# after He et al. (2016), section 4.2, who take 64,000 steps (164 epochs of CIFAR-10) without Nesterov's momentum
RESNET = Recipe(200, 128, 0.1, 1e-4, "multistep")
# after Zagoruyko and Komodakis (2016), section 3, who take 200 epochs and divide the rate by 5 at 60, 120 and 160
WIDE_RESNET = Recipe(40, 128, 0.1, 5e-4, "cosine")
# after the CIFAR-10 port github.com/chengyangfu/pytorch-vgg-cifar10: 300 epochs, the rate halved every 30, no Nesterov
VGG = Recipe(200, 128, 0.05, 5e-4, "cosine")
RECIPES: dict[str, Recipe] = {
    **dict.fromkeys(("resnet20", "resnet32", "resnet44", "resnet56"), RESNET),
    "wide-resnet-28-10": WIDE_RESNET,
    **dict.fromkeys(("vgg16", "vgg16-bn"), VGG),
}
AUGMENTATION_OF: dict[str, str] = {
    "cifar10": "crop-and-flip",
    "mnist": "crop",
    "fashion-mnist": "crop",
    "digits": "none",
}


def recipe_for(model: str, dataset: str) -> Recipe:
    """This project's recipe of `model` on `dataset`; raises ValueError when either has none."""
    if model not in RECIPES:
        raise ValueError(
            f"model must be one of {', '.join(RECIPES)}, which have a training recipe here "
            f"(vision transformers need another optimiser), got {model!r}"
        )
    if dataset not in AUGMENTATION_OF:
        raise ValueError(f"dataset must be one of {', '.join(AUGMENTATION_OF)} to train on, got {dataset!r}")
    return replace(RECIPES[model], augmentation=AUGMENTATION_OF[dataset])


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
    for name, table in (("schedule", SCHEDULES), ("augmentation", AUGMENTATIONS)):
        if getattr(recipe, name) not in table:
            raise ValueError(f"{name} must be one of {', '.join(table)}, got {getattr(recipe, name)!r}")
