"""The table of architectures by name, and the recipe of each on a data set."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from defenses.classifiers import resnet_cifar, resnet_imagenet, schemes, vgg, vit, wide_resnet
from defenses.classifiers.architecture import Architecture
from defenses.training.augmentation import AUGMENTATION_OF
from defenses.training.recipe import Recipe


def _resnet_cifar(layers: int, recipe: Recipe = resnet_cifar.RECIPE) -> Architecture:
    return Architecture(partial(resnet_cifar.Network, (layers - 2) // 6), schemes.RESNET_CIFAR, False, recipe)


def _wide_resnet(depth: int, widening: int, recipe: Recipe | None = None) -> Architecture:
    return Architecture(partial(wide_resnet.Network, depth, widening), schemes.WIDE_RESNET, False, recipe)


def _resnet(build: Callable) -> Architecture:
    """For large images, as those of ImageNet."""
    return Architecture(partial(build, resnet_imagenet.LARGE), schemes.RESNET_IMAGENET, smooth=False)


def _resnet_small_stem(build: Callable) -> Architecture:
    """For small images, as those of CIFAR-10."""
    return Architecture(partial(build, resnet_imagenet.SMALL), schemes.RESNET_SMALL_STEM, smooth=False)


def _vit(width: int) -> Architecture:
    return Architecture(partial(vit.Network, width), schemes.VIT, True, vit.RECIPE)


ARCHITECTURES: dict[str, Architecture] = {
    "resnet20": _resnet_cifar(20),
    "resnet20-fast-at": _resnet_cifar(20, resnet_cifar.FAST_AT_RECIPE),
    "resnet32": _resnet_cifar(32),
    "resnet44": _resnet_cifar(44),
    "resnet56": _resnet_cifar(56),
    "resnet18-cifar": _resnet_small_stem(resnet_imagenet.resnet18),
    "resnet34-cifar": _resnet_small_stem(resnet_imagenet.resnet34),
    "wide-resnet-28-10": _wide_resnet(28, 10, wide_resnet.RECIPE),
    "wide-resnet-34-10": _wide_resnet(34, 10),
    "vgg16": Architecture(partial(vgg.Network, False), schemes.VGG, False, vgg.RECIPE),
    "vgg16-bn": Architecture(partial(vgg.Network, True), schemes.VGG, False, vgg.RECIPE),
    "resnet18": _resnet(resnet_imagenet.resnet18),
    "resnet34": _resnet(resnet_imagenet.resnet34),
    "resnet50": Architecture(partial(resnet_imagenet.resnet50, "3x3"), schemes.RESNET_IMAGENET, smooth=False),
    "resnet50-v1": Architecture(partial(resnet_imagenet.resnet50, "1x1"), schemes.RESNET_IMAGENET, smooth=False),
    "vit-tiny-16": _vit(192),
    "vit-small-16": _vit(384),
    "vit-base-16": _vit(768),
}


def is_trainable(model: str, dataset: str) -> bool:
    """Whether this project has a recipe of that architecture on that data set."""
    return ARCHITECTURES[model].recipe is not None and dataset in AUGMENTATION_OF


def recipe_for(model: str, dataset: str) -> Recipe:
    """This project's recipe of `model` on `dataset`; raises ValueError when either has none."""
    recipe = ARCHITECTURES[model].recipe if model in ARCHITECTURES else None
    if recipe is None:
        names = [name for name, architecture in ARCHITECTURES.items() if architecture.recipe is not None]
        raise ValueError(f"model must be one of {', '.join(names)}, which have a training recipe here, got {model!r}")
    if dataset not in AUGMENTATION_OF:
        raise ValueError(f"dataset must be one of {', '.join(AUGMENTATION_OF)} to train on, got {dataset!r}")
    return replace(recipe, augmentation=AUGMENTATION_OF[dataset])
