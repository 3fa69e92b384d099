"""The table of architectures by name."""

from functools import partial

from defenses.classifiers import resnet_cifar, schemes
from defenses.classifiers.architecture import Architecture


def _resnet_cifar(layers: int) -> Architecture:
    return Architecture(
        build=partial(resnet_cifar.Network, (layers - 2) // 6),
        schemes={"pytorch-resnet-cifar10": schemes.pytorch_resnet_cifar10},
        smooth=False,
    )


ARCHITECTURES: dict[str, Architecture] = {
    "resnet20": _resnet_cifar(20),
    "resnet32": _resnet_cifar(32),
    "resnet44": _resnet_cifar(44),
    "resnet56": _resnet_cifar(56),
}
