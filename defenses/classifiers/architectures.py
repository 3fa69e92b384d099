"""The table of architectures by name."""

from collections.abc import Callable
from functools import partial

from defenses.classifiers import resnet_cifar, resnet_imagenet, schemes, vgg, vit, wide_resnet
from defenses.classifiers.architecture import Architecture


def _resnet_cifar(layers: int) -> Architecture:
    return Architecture(partial(resnet_cifar.Network, (layers - 2) // 6), schemes.RESNET_CIFAR, smooth=False)


def _wide_resnet(depth: int, widening: int) -> Architecture:
    return Architecture(partial(wide_resnet.Network, depth, widening), schemes.WIDE_RESNET, smooth=False)


def _resnet(build: Callable) -> Architecture:
    """For large images, as those of ImageNet."""
    return Architecture(partial(build, resnet_imagenet.LARGE), schemes.RESNET_IMAGENET, smooth=False)


def _resnet_small_stem(build: Callable) -> Architecture:
    """For small images, as those of CIFAR-10."""
    return Architecture(partial(build, resnet_imagenet.SMALL), schemes.RESNET_SMALL_STEM, smooth=False)


ARCHITECTURES: dict[str, Architecture] = {
    "resnet20": _resnet_cifar(20),
    "resnet32": _resnet_cifar(32),
    "resnet44": _resnet_cifar(44),
    "resnet56": _resnet_cifar(56),
    "resnet18-cifar": _resnet_small_stem(resnet_imagenet.resnet18),
    "resnet34-cifar": _resnet_small_stem(resnet_imagenet.resnet34),
    "wide-resnet-28-10": _wide_resnet(28, 10),
    "wide-resnet-34-10": _wide_resnet(34, 10),
    "vgg16": Architecture(partial(vgg.Network, False), schemes.VGG, smooth=False),
    "vgg16-bn": Architecture(partial(vgg.Network, True), schemes.VGG, smooth=False),
    "resnet18": _resnet(resnet_imagenet.resnet18),
    "resnet34": _resnet(resnet_imagenet.resnet34),
    "resnet50": Architecture(partial(resnet_imagenet.resnet50, "3x3"), schemes.RESNET_IMAGENET, smooth=False),
    "resnet50-v1": Architecture(partial(resnet_imagenet.resnet50, "1x1"), schemes.RESNET_IMAGENET, smooth=False),
    "vit-tiny-16": Architecture(partial(vit.Network, 192), schemes.VIT, smooth=True),
    "vit-small-16": Architecture(partial(vit.Network, 384), schemes.VIT, smooth=True),
    "vit-base-16": Architecture(partial(vit.Network, 768), schemes.VIT, smooth=True),
}
