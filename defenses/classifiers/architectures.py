"""The table of architectures by name."""

from functools import partial

from defenses.classifiers import resnet_cifar, resnet_imagenet, schemes, vgg, vit, wide_resnet
from defenses.classifiers.architecture import Architecture


def _resnet_cifar(layers: int) -> Architecture:
    return Architecture(partial(resnet_cifar.Network, (layers - 2) // 6), schemes.RESNET_CIFAR, smooth=False)


ARCHITECTURES: dict[str, Architecture] = {
    "resnet20": _resnet_cifar(20),
    "resnet32": _resnet_cifar(32),
    "resnet44": _resnet_cifar(44),
    "resnet56": _resnet_cifar(56),
    "wide-resnet-28-10": Architecture(partial(wide_resnet.Network, 28, 10), schemes.WIDE_RESNET, smooth=False),
    "vgg16": Architecture(partial(vgg.Network, False), schemes.VGG, smooth=False),
    "vgg16-bn": Architecture(partial(vgg.Network, True), schemes.VGG, smooth=False),
    "resnet18": Architecture(resnet_imagenet.resnet18, schemes.RESNET_IMAGENET, smooth=False),
    "resnet50": Architecture(partial(resnet_imagenet.resnet50, "3x3"), schemes.RESNET_IMAGENET, smooth=False),
    "resnet50-v1": Architecture(partial(resnet_imagenet.resnet50, "1x1"), schemes.RESNET_IMAGENET, smooth=False),
    "vit-tiny-16": Architecture(partial(vit.Network, 192), schemes.VIT, smooth=True),
    "vit-small-16": Architecture(partial(vit.Network, 384), schemes.VIT, smooth=True),
    "vit-base-16": Architecture(partial(vit.Network, 768), schemes.VIT, smooth=True),
}
