"""What training runs save beside their tensors: known classes whose instances stand for nothing, and NumPy's scalars.

None of it is read, and nothing of it is run. Any other class is refused.
"""

from typing import NamedTuple

from defenses.files.numpy_pickle import encoded
from defenses.files.pickle_machine import Allowed, Opaque, States, opaque

_SIZES = {"b1": 1, **{f"{kind}{size}": size for kind in "iu" for size in (1, 2, 4, 8)}, "f2": 2, "f4": 4, "f8": 8}
_CLASSES = (
    ("argparse", "Namespace"),  # the options of the run
    ("collections", "Counter"),  # the milestones of PyTorch's MultiStepLR
    ("torch", "device"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),  # as Python 3.13 writes them
    ("pathlib._local", "WindowsPath"),
)


class _Dtype(NamedTuple):
    """Stands for the numpy.dtype of a number."""

    code: str


def _dtype(code, align, copy) -> _Dtype:
    if type(code) is not str or code not in _SIZES:
        got = code if type(code) is str else type(code)
        raise ValueError(f"holds a NumPy scalar of dtype {got!r:.40}, expected one of {', '.join(_SIZES)}")
    return _Dtype(code)


def _scalar(dtype, content) -> Opaque:
    if type(dtype) is not _Dtype or type(content) not in (str, bytes) or len(content) != _SIZES[dtype.code]:
        raise ValueError("holds a NumPy scalar that has not the bytes of its dtype")
    return opaque()


def _forget(_: _Dtype, state: object) -> None:
    pass


INERT: Allowed = {
    **dict.fromkeys(_CLASSES, opaque),
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,  # as numpy 2 writes it
    ("_codecs", "encode"): encoded,
}
INERT_STATES: States = {_Dtype: _forget}
