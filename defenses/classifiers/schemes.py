"""How published PyTorch checkpoints name and lay out the arrays of our networks.

A scheme maps {published name: array of float32} to {our name, joined by "/": array in our layout}. It raises KeyError
for a name that it does not know, and ValueError for two names of the same array. Shapes are not checked here: whoever
loads compares with the network's template.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
Scheme = Callable[[Arrays], dict[str, np.ndarray]]
Rules = Sequence[tuple[str, str]]  # (pattern of a whole layer or array name, what it becomes), the first match counts

_LEAF = r"\.(?:weight|bias|running_mean|running_var)$"
_KERNELS = {2: "kernel", 4: "kernel"}  # a weight of these dimensions; any other scales a norm
_OWN = {"bias": "bias", "running_mean": "mean", "running_var": "var"}
_FEATURES = (512, 7, 7)  # of VGG-16, as PyTorch flattens them


def scheme(*rules: tuple[str, str]) -> Scheme:
    """The scheme that renames by `rules` into dotted names, in which a number is an index into a sequence."""

    def convert(arrays: Arrays) -> dict[str, np.ndarray]:
        own, origins = {}, {}
        for origin, array in arrays.items():
            name, own_array = _laid_out(_renamed(rules, origin), array)
            _require_new(name, origin, origins)
            own[name] = own_array
        return own

    return convert


def _require_new(name: str, origin: str, origins: dict[str, str]) -> None:
    """Note where an array comes from; raise ValueError when the same comes from elsewhere already."""
    if origins.setdefault(name, origin) != origin:
        raise ValueError(f"{origins[name]} and {origin} are two names of {name}")


def _renamed(rules: Rules, name: str) -> str:
    layer = re.sub(_LEAF, "", name)
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, layer):
            return match.expand(replacement) + name[len(layer) :]
    raise KeyError(name)


def _laid_out(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Convolution kernels from OIHW to HWIO, dense ones from (out, in) to (in, out)."""
    path = re.sub(r"\.(\d+)", r".layers.\1", name).replace(".", "/")
    layer, _, leaf = path.rpartition("/")
    if leaf == "weight":
        kernel = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        return f"{layer}/{_KERNELS.get(array.ndim, 'scale')}", kernel
    return (f"{layer}/{_OWN[leaf]}" if leaf in _OWN else path), array


def _with_hidden_layers(convert: Scheme) -> Scheme:
    """Dense layers also where a checkpoint has convolutions, on features flattened with channels last."""

    def converted(arrays: Arrays) -> dict[str, np.ndarray]:
        own = convert(arrays)
        for name in ("hidden/layers/0/kernel", "hidden/layers/2/kernel"):
            if name in own:
                own[name] = _on_channels_last(own[name])
        return own

    return converted


def _on_channels_last(kernel: np.ndarray) -> np.ndarray:
    if kernel.ndim == 4:
        return kernel.reshape(-1, kernel.shape[-1])
    if len(kernel) != np.prod(_FEATURES):
        return kernel
    return kernel.reshape(*_FEATURES, -1).transpose(1, 2, 0, 3).reshape(kernel.shape)


def _with_fused_attention(convert: Scheme) -> Scheme:
    """One layer for queries, keys and values where a checkpoint has three."""

    def converted(arrays: Arrays) -> dict[str, np.ndarray]:
        fused = dict(arrays)
        origins = {name: name for name in arrays}
        for name in arrays:
            if match := re.fullmatch(r"(.*\.)(query|q_proj)(\.\w+)", name):
                before, query, after = match.groups()
                parts = ("query", "key", "value") if query == "query" else ("q_proj", "k_proj", "v_proj")
                whole = f"{before}qkv{after}"
                _require_new(whole, name, origins)
                fused[whole] = np.concatenate([fused.pop(f"{before}{part}{after}") for part in parts])
        return convert(fused)

    return converted


def _without(unused: str, convert: Scheme) -> Scheme:
    """The scheme on what is left when arrays whose whole names match the pattern are dropped."""

    def converted(arrays: Arrays) -> dict[str, np.ndarray]:
        return convert({name: array for name, array in arrays.items() if not re.fullmatch(unused, name)})

    return converted


def _resnet_stages() -> Iterator[tuple[str, str]]:
    """Hugging Face counts from 0 what torchvision counts from 1."""
    for stage in range(4):
        block, own = rf"resnet\.encoder\.stages\.{stage}\.layers\.(\d+)", rf"layer{stage + 1}.\1"
        for index in range(3):
            yield rf"{block}\.layer\.{index}\.convolution", f"{own}.conv{index + 1}"
            yield rf"{block}\.layer\.{index}\.normalization", f"{own}.bn{index + 1}"
        yield rf"{block}\.shortcut\.convolution", f"{own}.downsample.0"
        yield rf"{block}\.shortcut\.normalization", f"{own}.downsample.1"


_TORCHVISION_BLOCK = r"encoder\.layers\.encoder_layer_(\d+)"
_HUGGING_FACE_BLOCK = r"vit\.(?:encoder\.layer|layers)\.(\d+)"  # in files; in memory since transformers 5

RESNET_CIFAR = {
    "pytorch-resnet-cifar10": scheme((r"conv1|bn1|linear|layer[1-3]\.\d+\.(?:conv|bn)[12]", r"\g<0>")),
}
_WIDE_LAYER = r"layer\.(\d+)\.((?:conv|bn)[12])"
WIDE_RESNET = {
    "wide-resnet-pytorch": _without(
        rf"sub_block1\.(?:{_WIDE_LAYER}|layer\.\d+\.convShortcut){_LEAF}",  # TRADES makes it and never calls it
        scheme(
            (r"conv1|bn1|fc", r"\g<0>"),
            (rf"(block[1-3])\.{_WIDE_LAYER}", r"\1.\2.\3"),
            (r"(block[1-3])\.layer\.(\d+)\.convShortcut", r"\1.\2.shortcut"),
        ),
    ),
}
_resnet = scheme((r"conv1|bn1|fc|layer[1-4]\.\d+\.(?:(?:conv|bn)[1-3]|downsample\.[01])", r"\g<0>"))
RESNET_IMAGENET = {
    "torchvision": _resnet,
    "timm": _resnet,
    "hugging-face": scheme(
        (r"resnet\.embedder\.embedder\.convolution", "conv1"),
        (r"resnet\.embedder\.embedder\.normalization", "bn1"),
        *_resnet_stages(),
        (r"classifier\.1", "fc"),
    ),
}
RESNET_SMALL_STEM = {
    "timm": _resnet,  # and torchvision, with another conv1 and without the pooling
    "pytorch-cifar": scheme(
        (r"conv1|bn1|layer[1-4]\.\d+\.(?:conv|bn)[12]", r"\g<0>"),
        (r"(layer[1-4]\.\d+)\.shortcut\.([01])", r"\1.downsample.\2"),
        (r"linear", "fc"),
    ),
}
VGG = {
    "torchvision": _with_hidden_layers(
        scheme(
            (r"features\.\d+", r"\g<0>"),
            (r"classifier\.0", "hidden.0"),
            (r"classifier\.3", "hidden.2"),
            (r"classifier(?:\.6)?", "head"),  # the ports to CIFAR-10 have one dense layer, without a number
        )
    ),
    "timm": _with_hidden_layers(
        scheme(
            (r"features\.\d+", r"\g<0>"),
            (r"pre_logits\.fc1", "hidden.0"),
            (r"pre_logits\.fc2", "hidden.2"),
            (r"head\.fc", "head"),
        )
    ),
}
VIT = {
    "timm": scheme(
        (r"cls_token|pos_embed|norm|head|blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])", r"\g<0>"),
        (r"patch_embed\.proj", "patch_embed"),
    ),
    "torchvision": scheme(
        (r"class_token", "cls_token"),
        (r"conv_proj", "patch_embed"),
        (r"encoder\.pos_embedding", "pos_embed"),
        (rf"{_TORCHVISION_BLOCK}\.ln_([12])", r"blocks.\1.norm\2"),
        (rf"{_TORCHVISION_BLOCK}\.self_attention\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
        (rf"{_TORCHVISION_BLOCK}\.self_attention\.out_proj", r"blocks.\1.attn.proj"),
        (rf"{_TORCHVISION_BLOCK}\.mlp\.(?:linear_1|0)", r"blocks.\1.mlp.fc1"),  # in files; in memory
        (rf"{_TORCHVISION_BLOCK}\.mlp\.(?:linear_2|3)", r"blocks.\1.mlp.fc2"),
        (r"encoder\.ln", "norm"),
        (r"heads(?:\.head)?", "head"),  # without a name where a user put a dense layer there
    ),
    "hugging-face": _with_fused_attention(
        scheme(
            (r"vit\.embeddings\.cls_token", "cls_token"),
            (r"vit\.embeddings\.position_embeddings", "pos_embed"),
            (r"vit\.embeddings\.patch_embeddings\.projection", "patch_embed"),
            (rf"{_HUGGING_FACE_BLOCK}\.layernorm_before", r"blocks.\1.norm1"),
            (rf"{_HUGGING_FACE_BLOCK}\.attention\.(?:attention\.)?qkv", r"blocks.\1.attn.qkv"),
            (rf"{_HUGGING_FACE_BLOCK}\.attention\.(?:output\.dense|o_proj)", r"blocks.\1.attn.proj"),
            (rf"{_HUGGING_FACE_BLOCK}\.layernorm_after", r"blocks.\1.norm2"),
            (rf"{_HUGGING_FACE_BLOCK}\.(?:intermediate\.dense|mlp\.fc1)", r"blocks.\1.mlp.fc1"),
            (rf"{_HUGGING_FACE_BLOCK}\.(?:output\.dense|mlp\.fc2)", r"blocks.\1.mlp.fc2"),
            (r"vit\.layernorm", "norm"),
            (r"classifier", "head"),
        )
    ),
}
