"""How published PyTorch checkpoints name and lay out the arrays of our networks.

A scheme maps {published name: array} to {our name, joined by "/": array in our layout}, and raises KeyError for
a name that it does not know. Shapes are not checked here: whoever loads compares with the network's template.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
Scheme = Callable[[Arrays], dict[str, np.ndarray]]
Rules = Sequence[tuple[str, str]]  # (pattern of a whole layer name, what it becomes), the first match counts

_LEAVES = {"bias": "bias", "running_mean": "mean", "running_var": "var"}
_WEIGHTS = {1: "scale", 2: "kernel", 4: "kernel"}  # by dimensions: of a norm, of a dense layer, of a convolution
_UNUSED = "num_batches_tracked"


def scheme(rules: Rules) -> Scheme:
    """The scheme that renames layers by `rules`; a dotted number that survives is an index into a sequence."""

    def rename(arrays: Arrays) -> dict[str, np.ndarray]:
        return dict(_converted(rules, name, array) for name, array in arrays.items() if not name.endswith(_UNUSED))

    return rename


def _converted(rules: Rules, name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    layer, _, leaf = name.rpartition(".")
    own = _WEIGHTS.get(array.ndim) if leaf == "weight" else _LEAVES.get(leaf)
    if own is None:
        raise KeyError(name)
    return f"{_renamed(rules, layer, name)}/{own}", _laid_out(array)


def _renamed(rules: Rules, layer: str, name: str) -> str:
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, layer):
            return re.sub(r"\.(\d+)", r".layers.\1", match.expand(replacement)).replace(".", "/")
    raise KeyError(name)


def _laid_out(array: np.ndarray) -> np.ndarray:
    """Convolution kernels from OIHW to HWIO, dense ones from (out, in) to (in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


pytorch_resnet_cifar10 = scheme([(r"conv1|bn1|linear|layer[1-3]\.\d+\.(conv|bn)[12]", r"\g<0>")])
