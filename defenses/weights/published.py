"""The table of published weights: whose they are, where they lie, and the input they were trained for."""

from typing import NamedTuple

from defenses.data.normalization import IMAGENET, Normalization
from defenses.files.resize import Resize


class Published(NamedTuple):
    """One published checkpoint.

    model, dataset: names in the tables of architectures and data sets.
    file: its name in the folder `weights` of the data folder.
    sha256: its 64 hexadecimal digits, or the leading ones that its publisher puts into the file name.
    address: where it is downloaded; None for a file that was made from a published one.
    normalization, resize: what the network expects in front of it; resize is None for 32 × 32 images.
    """

    model: str
    dataset: str
    file: str
    sha256: str
    address: str | None
    normalization: Normalization
    resize: Resize | None


_RESNET_CIFAR = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/"
_TORCHVISION = "https://download.pytorch.org/models/"
_DEIT = "https://dl.fbaipublicfiles.com/deit/"


def _cifar(model: str, file: str, sha256: str) -> Published:
    return Published(model, "cifar10", file, sha256, _RESNET_CIFAR + file, IMAGENET, None)


def _imagenet(model: str, folder: str, file: str, resize: Resize) -> Published:
    """A file named after its own hash: `<name>-<first eight digits of its sha256>.pth`."""
    digits = file.removesuffix(".pth").rsplit("-", 1)[1]
    return Published(model, "imagenet", file, digits, folder + file, IMAGENET, resize)


_BILINEAR, _BICUBIC = Resize(256, 224, "bilinear"), Resize(256, 224, "bicubic")
_WHOLE = Resize(224, 224, "bilinear")  # what the two files below were measured with, on images squashed to a square

PUBLISHED: tuple[Published, ...] = (
    _cifar("resnet20", "resnet20-12fca82f.th", "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"),
    _cifar("resnet56", "resnet56-4bfd9763.th", "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367"),
    _imagenet("resnet18", _TORCHVISION, "resnet18-f37072fd.pth", _BILINEAR),
    _imagenet("resnet50", _TORCHVISION, "resnet50-0676ba61.pth", _BILINEAR),
    _imagenet("vgg16", _TORCHVISION, "vgg16-397923af.pth", _BILINEAR),
    _imagenet("vgg16-bn", _TORCHVISION, "vgg16_bn-6c64b313.pth", _BILINEAR),
    _imagenet("vit-base-16", _TORCHVISION, "vit_b_16-c867db91.pth", _BILINEAR),
    _imagenet("vit-tiny-16", _DEIT, "deit_tiny_patch16_224-a1311bcf.pth", _BICUBIC),
    _imagenet("vit-small-16", _DEIT, "deit_small_patch16_224-cd65a155.pth", _BICUBIC),
    Published(
        "vit-tiny-16",
        "imagenet",
        "deit_tiny_patch16_224.safetensors",
        "4bd043e7187a1d9a8cd4ce40c56ece8ab9410917468cf010cd08250998a5fc77",
        None,
        IMAGENET,
        _WHOLE,
    ),
    Published(
        "resnet50-v1",
        "imagenet",
        "resnet50_v1_pruned.safetensors",
        "97337c404aae6cfd1a0621c18aaaa0cdbb6ca4fc34c474409dd1e46d40f043a6",
        None,
        IMAGENET,
        _WHOLE,
    ),
)
