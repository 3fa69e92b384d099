"""PyTorch twins of the networks, written from the papers with the state-dict names of the published checkpoints."""
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# torch is an extra, and where it is not installed nothing imports this file

from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

conv3 = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
conv1 = partial(nn.Conv2d, kernel_size=1, bias=False)


class CifarBlock(nn.Module):
    def __init__(self, width_in, width_out, stride):
        super().__init__()
        self.conv1, self.bn1 = conv3(width_in, width_out, stride=stride), nn.BatchNorm2d(width_out)
        self.conv2, self.bn2 = conv3(width_out, width_out), nn.BatchNorm2d(width_out)
        self.stride, self.added = stride, width_out - width_in

    def forward(self, x):
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class CifarResNet(nn.Module):
    """Names of akamaster/pytorch_resnet_cifar10."""

    def __init__(self, layers, channels, classes):
        super().__init__()
        blocks = (layers - 2) // 6
        self.conv1, self.bn1 = conv3(channels, 16), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            stage(CifarBlock, blocks, a, b, s) for a, b, s in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        )
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, width_in, width_out, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(width_in), conv3(width_in, width_out, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width_out), conv3(width_out, width_out)
        self.convShortcut = None if width_in == width_out else conv1(width_in, width_out, stride=stride)

    def forward(self, x):
        activated = F.relu(self.bn1(x))
        features = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return features + (x if self.convShortcut is None else self.convShortcut(activated))


class WideStage(nn.Module):
    def __init__(self, *arguments):
        super().__init__()
        self.layer = stage(WideBlock, *arguments)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    """Names of xternalz/WideResNet-pytorch and RobustBench."""

    def __init__(self, depth, widening, channels, classes):
        super().__init__()
        blocks, widths = (depth - 4) // 6, [16, 16 * widening, 32 * widening, 64 * widening]
        self.conv1 = conv3(channels, 16)
        self.block1, self.block2, self.block3 = (
            WideStage(blocks, a, b, s) for (a, b), s in zip(pairwise(widths), (1, 2, 2), strict=True)
        )
        self.bn1, self.fc = nn.BatchNorm2d(widths[-1]), nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class VGG16(nn.Module):
    """Names of torchvision; below 64 pixels one dense layer `classifier`, as in the ports to CIFAR-10."""

    def __init__(self, normalized, side, channels, classes):
        super().__init__()
        layers, before = [], channels
        for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"):
            if width == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(before, width, 3, padding=1), *[nn.BatchNorm2d(width)] * normalized, nn.ReLU()]
                before = width
        self.features = nn.Sequential(*layers)
        hidden = [nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
        large = side >= 64
        self.classifier = nn.Sequential(*hidden, nn.Linear(4096, classes)) if large else nn.Linear(512, classes)
        self.margin = max(32 - side, 0) // 2

    def forward(self, x):
        x = F.pad(x, (self.margin,) * 4)
        return self.classifier(torch.flatten(self.features(x), 1))


class BasicBlock(nn.Module):
    def __init__(self, width_in, width_out, stride):
        super().__init__()
        self.conv1, self.bn1 = conv3(width_in, width_out, stride=stride), nn.BatchNorm2d(width_out)
        self.conv2, self.bn2 = conv3(width_out, width_out), nn.BatchNorm2d(width_out)
        self.downsample = downsample(width_in, width_out, stride)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    def __init__(self, stride_first, width_in, width_out, stride):
        super().__init__()
        width = width_out // 4
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1, self.bn1 = conv1(width_in, width, stride=first), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3(width, width, stride=second), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv1(width, width_out), nn.BatchNorm2d(width_out)
        self.downsample = downsample(width_in, width_out, stride)

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Names of torchvision; for small images a 3×3 convolution and no pooling, as one makes of timm's."""

    def __init__(self, block, blocks, expansion, channels, classes, small=False):
        super().__init__()
        self.conv1 = conv3(channels, 64) if small else nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        widths = [64, *(width * expansion for width in (64, 128, 256, 512))]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            stage(block, n, a, b, s) for n, (a, b), s in zip(blocks, pairwise(widths), (1, 2, 2, 2), strict=True)
        )
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (-1, 64)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        weights = (q @ k.transpose(-1, -2) / 8).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(nn.Module):
    """Names of timm."""

    def __init__(self, width, side, channels, classes):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(channels, width, 16, stride=16)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (side // 16) ** 2, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def stage(block, blocks, width_in, width_out, stride):
    return nn.Sequential(
        block(width_in, width_out, stride), *(block(width_out, width_out, 1) for _ in range(blocks - 1))
    )


def downsample(width_in, width_out, stride):
    if width_in == width_out:
        return None
    return nn.Sequential(conv1(width_in, width_out, stride=stride), nn.BatchNorm2d(width_out))


def twin(name, image_shape, classes, seed):
    """The twin of an architecture in evaluation mode, every parameter and batch statistic random."""
    side, _, channels = image_shape
    bottleneck, bottleneck_v1 = partial(Bottleneck, False), partial(Bottleneck, True)
    builders = {
        **{f"resnet{n}": partial(CifarResNet, n, channels, classes) for n in (20, 32, 44, 56)},
        "resnet18-cifar": partial(ResNet, BasicBlock, (2, 2, 2, 2), 1, channels, classes, small=True),
        "resnet34-cifar": partial(ResNet, BasicBlock, (3, 4, 6, 3), 1, channels, classes, small=True),
        "wide-resnet-28-10": partial(WideResNet, 28, 10, channels, classes),
        "wide-resnet-34-10": partial(WideResNet, 34, 10, channels, classes),
        "vgg16": partial(VGG16, False, side, channels, classes),
        "vgg16-bn": partial(VGG16, True, side, channels, classes),
        "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2), 1, channels, classes),
        "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3), 1, channels, classes),
        "resnet50": partial(ResNet, bottleneck, (3, 4, 6, 3), 4, channels, classes),
        "resnet50-v1": partial(ResNet, bottleneck_v1, (3, 4, 6, 3), 4, channels, classes),
        "vit-tiny-16": partial(VisionTransformer, 192, side, channels, classes),
        "vit-small-16": partial(VisionTransformer, 384, side, channels, classes),
        "vit-base-16": partial(VisionTransformer, 768, side, channels, classes),
    }
    torch.manual_seed(seed)
    module = builders[name]()
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            randomize(key, tensor)
    return module.eval()


def randomize(key, tensor):
    """Kernels keep the scale of their input, norms scale and shift by factors and offsets of order one."""
    if key.endswith("num_batches_tracked"):
        return
    if key.endswith("running_var") or (key.endswith("weight") and tensor.ndim == 1):
        tensor.uniform_(0.5, 1.5)
    elif key.endswith("weight"):
        tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    else:
        tensor.normal_(0, 0.3)


def checkpoint(module):
    """The state dict as arrays of their own."""
    return {key: tensor.numpy().copy() for key, tensor in module.state_dict().items()}


def scores(module, images):
    """What the twin says about (n, h, w, c) images."""
    with torch.no_grad():
        return module(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()
