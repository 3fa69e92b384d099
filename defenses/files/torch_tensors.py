"""What PyTorch's pickles say of tensors, as inert records, and the arrays that those records describe."""

import math
from typing import NamedTuple, TypeGuard

import numpy as np
from ml_dtypes import bfloat16

from defenses.files.pickle_machine import MAX_KEY_LENGTH, Allowed, checked_key

MAX_DIMENSIONS = 32

_DTYPES = {
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(bfloat16),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
}
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}


class Storage(NamedTuple):
    """A stretch of the file: its key, the dtype it is written in, the number of its elements."""

    key: str
    dtype: np.dtype
    numel: int


class Tensor(NamedTuple):
    """Which elements of a storage make up a tensor; offset and stride count elements, as PyTorch's do."""

    storage: Storage
    dtype: np.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def storage(identity: object) -> Storage:
    """The storage of a persistent id ("storage", type, key, device, number of elements[, None]), or ValueError."""
    match identity:
        case ("storage", str(kind), str(key), str(), int(numel), *view) if kind in _STORAGES and numel >= 0:
            if view in ([], [None]) and len(key) <= MAX_KEY_LENGTH:
                return Storage(key, _DTYPES[_STORAGES[kind]], numel)
    raise ValueError("refuses a persistent id that is no storage of a known type")


def view(tensor: Tensor, data: memoryview) -> np.ndarray:
    """The tensor as a read-only array on the bytes of its storage; nothing is copied.

    Raises ValueError when it reaches outside them, or when it repeats elements so that it is larger than they are.
    """
    item = tensor.dtype.itemsize
    elements = len(data) // item
    if math.prod(tensor.size) == 0:
        return np.ndarray(tensor.size, tensor.dtype, b"")
    reach = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True)) + 1
    if reach > elements:
        raise ValueError(f"reaches element {reach} of a storage of {elements}")
    if math.prod(tensor.size) > elements:
        raise ValueError(f"has {math.prod(tensor.size)} elements on a storage of {elements}")
    strides = [step * item if n > 1 else 0 for n, step in zip(tensor.size, tensor.stride, strict=True)]
    return np.ndarray(tensor.size, tensor.dtype, data, tensor.offset * item, strides)


def _checked(storage: object, offset: object, size: object, stride: object, dtype: np.dtype | None = None) -> Tensor:
    if type(storage) is not Storage:
        raise ValueError("holds a tensor without a storage")
    if not (_is_count(offset) and _are_counts(size) and _are_counts(stride) and len(size) == len(stride)):
        raise ValueError(
            "holds a tensor whose offset, size or stride is not made of numbers >= 0, "
            f"or that has more than {MAX_DIMENSIONS} dimensions"
        )
    return Tensor(storage, dtype or storage.dtype, offset, size, stride)


def _tensor(storage, offset, size, stride) -> Tensor:
    return _checked(storage, offset, size, stride)


def _tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata=None) -> Tensor:
    _check_plain(metadata)
    return _checked(storage, offset, size, stride)


def _tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None) -> Tensor:
    _check_plain(metadata)
    if type(dtype) is not str or dtype not in _DTYPES:
        raise ValueError("holds a tensor of an unknown dtype")
    return _checked(storage, offset, size, stride, _DTYPES[dtype])


def _parameter(data, requires_grad, hooks) -> Tensor:
    if type(data) is not Tensor:
        raise ValueError("holds a parameter that is no tensor")
    return data


def _size(numbers) -> tuple[int, ...]:
    if not _are_counts(numbers):
        raise ValueError("holds a torch.Size that is not made of numbers >= 0")
    return numbers


def _ordered_dict(pairs=()) -> dict:
    """A dictionary; Python 2 wrote its items as a list, which is emptied: naming it again must not multiply it."""
    if type(pairs) is not list:
        if pairs != ():
            raise ValueError("holds an OrderedDict that is not made of a list of pairs")
        return {}
    items, pairs[:] = list(pairs), []
    if not all(type(item) in (list, tuple) and len(item) == 2 for item in items):
        raise ValueError("holds an OrderedDict that is not made of pairs")
    return {checked_key(key): value for key, value in items}


def _are_counts(numbers: object) -> TypeGuard[tuple[int, ...]]:
    return type(numbers) is tuple and len(numbers) <= MAX_DIMENSIONS and all(_is_count(number) for number in numbers)


def _is_count(number: object) -> TypeGuard[int]:
    return type(number) is int and 0 <= number < 2**63


def _check_plain(metadata: object) -> None:
    """Metadata say that the tensor is to be negated or conjugated when it is read."""
    if metadata:
        raise ValueError("holds a tensor with metadata: only plain tensors are read")


TENSORS: Allowed = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch.storage" if kind == "UntypedStorage" else "torch", kind): kind for kind in _STORAGES},
    **{("torch", name): name for name in _DTYPES},
}
