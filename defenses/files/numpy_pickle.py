"""Pickles that hold numpy arrays of unsigned bytes, read without numpy's own functions, which would believe them.

Source: `array_reduce` and `arraydescr_reduce` of numpy's C code, whose states have versions 1 and 3.
"""

import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from defenses.files import pickle_machine


@dataclass
class Array:
    """Stands for a numpy.ndarray: its shape, and its bytes in C order, which Python 2 gives as a Latin-1 string.

    Arrays of one pickle may share the content: it is not copied before `values`.
    """

    shape: tuple[int, int] = (0, 0)
    content: str | bytes = b""

    def values(self) -> UInt8[np.ndarray, "rows columns"]:
        """The read-only array; raises ValueError for a string with characters that are no bytes."""
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        return np.frombuffer(content, np.uint8).reshape(self.shape)


def load(content: bytes) -> object:
    """The object of a pickle of protocol 2 to 4 by Python 2 or 3, with an `Array` for every array of numpy.

    Raises ValueError for other globals than those of arrays, and for an array that has not two dimensions, unsigned
    bytes, C order, and as many bytes as its shape says.
    """
    return pickle_machine.load(io.BytesIO(content), _ALLOWED, states=_STATES)


class _Dtype(NamedTuple):
    """Stands for the numpy.dtype of unsigned bytes."""

    code: str


def _dtype(code, align, copy) -> _Dtype:
    if code != "u1":
        got = code if type(code) is str else type(code)
        raise ValueError(f"arrays must be of unsigned bytes (u1), got {got!r:.40}")
    return _Dtype(code)


def _check_plain(_: _Dtype, state: object) -> None:
    match state:  # version, byte order, subarray, names and types of fields, size, alignment, flags
        case (int(), str(), None, None, None, int(), int(), int()):
            return
    raise ValueError("arrays must be of plain unsigned bytes, without fields")


def _reconstruct(kind, shape, code) -> Array:
    """An array as numpy starts one: empty, since shape and content come with its state."""
    return Array()


def _fill(array: Array, state: object) -> None:
    match state:  # version, shape, dtype, whether in Fortran order, content
        case (int(), (int(rows), int(columns)), _Dtype(), False, str(content) | bytes(content)):
            if rows * columns == len(content):
                array.shape, array.content = (rows, columns), content
                return
    raise ValueError("arrays must have two dimensions and as many bytes as they say")


def encoded(text, encoding="utf-8") -> str:
    """The text itself for codecs.encode, by which Python 3 writes bytes for Python 2: a copy could be multiplied."""
    if type(text) is not str:
        raise ValueError(f"bytes must be encoded from a string, got {type(text).__name__}")
    if encoding != "latin1":
        raise ValueError("bytes must be encoded as latin1")
    return text


_ALLOWED: pickle_machine.Allowed = {
    ("_codecs", "encode"): encoded,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # as numpy 2 writes it
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _dtype,
}
_STATES: pickle_machine.States = {_Dtype: _check_plain, Array: _fill}
