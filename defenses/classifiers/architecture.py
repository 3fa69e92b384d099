"""What an architecture is, apart from any weights: a builder, and how published checkpoints name its arrays."""

from collections.abc import Callable
from typing import NamedTuple

from flax import nnx

from defenses.training.recipe import Recipe


class Architecture(NamedTuple):
    """A family member such as ResNet-20, for any number of classes.

    build: ((h, w, c) of the images, number of classes, rngs) -> a module from normalised (n, h, w, c) images to
        (n, classes) scores. Its batch norms follow `module.train()` and `module.eval()`.
    schemes: {scheme: function from a checkpoint's arrays {name: array} to arrays in the module's own names and
        layouts}, where the scheme is "torchvision", "timm", "hugging-face" or the repository that published it.
        A scheme's function raises KeyError for names it does not know.
    smooth: whether scores have a Lipschitz gradient; False with ReLU, for which L₁ does not exist.
    recipe: how it is trained here, for small images; None where it is not.
    """

    build: Callable[[tuple[int, int, int], int, nnx.Rngs], nnx.Module]
    schemes: dict[str, Callable]
    smooth: bool
    recipe: Recipe | None = None
