"""The arrays in a checkpoint file, whatever its format, and nothing but arrays."""

import hashlib
import re
from operator import itemgetter
from pathlib import Path

import numpy as np
from ml_dtypes import bfloat16
from safetensors import SafetensorError, deserialize

from defenses.files.torch_pickle import read_archive, read_legacy

_SAFETENSORS, _TORCH = "safetensors", "PyTorch"
_FORMATS = {".safetensors": _SAFETENSORS, ".pth": _TORCH, ".th": _TORCH, ".pt": _TORCH, ".bin": _TORCH}
_HUB_NAME = re.compile(r".+-([0-9a-f]{8})\.(?:pth|th)")
_DTYPES = {
    **{"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(bfloat16)},
    **{"I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1")},
    **{"U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1")},
    "BOOL": np.dtype("?"),
}


def read_arrays(path: Path, sha256: str = "") -> dict[str, np.ndarray]:
    """The arrays of a safetensors file or of a PyTorch file (zip or legacy pickle) by name; nothing is executed.

    sha256: the file's hash or its leading digits, in hexadecimal; "" where it is not known. A name that ends in eight
        such digits, `resnet50-0676ba61.pth`, is held to them: so `torch.hub` names files.
    The format is told by the content. Raises ValueError, naming the file, what was expected and what was found, for
    a missing, truncated or altered file, for one whose ending belongs to the other format, for a pickle that asks for
    anything but tensors, and for tensors that share more than the file holds.
    """
    path = Path(path)
    content = _content(path)
    _check_hash(path, content, sha256)
    try:
        return _read(path, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ValueError(f"{path}: expected a checkpoint file, found {'a folder' if path.is_dir() else 'none'}")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: can't be read ({error.strerror})") from error
    if not content:
        raise ValueError(f"{path}: expected a checkpoint file, found an empty one")
    return content


def _check_hash(path: Path, content: bytes, sha256: str) -> None:
    if not re.fullmatch("[0-9a-f]{0,64}", sha256.lower()):
        raise ValueError(f"sha256 must be up to 64 hexadecimal digits, got {sha256!r}")
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(sha256.lower()):
        raise ValueError(f"{path}: expected sha256 {sha256}, found {found}")
    name = _HUB_NAME.fullmatch(path.name)
    if name and not found.startswith(name[1]):
        raise ValueError(
            f"{path}: expected a sha256 that starts with {name[1]} as the name says, found {found}; "
            "rename the file if these digits are no hash"
        )


def _read(path: Path, content: bytes) -> dict[str, np.ndarray]:
    found, read = _format(content)
    expected = _FORMATS.get(path.suffix.lower(), found)
    if found != expected:
        raise ValueError(f"expected a {expected} file as its name says, found {found}")
    arrays = read(content)
    size = sum(array.nbytes for array in arrays.values())
    if size > len(content):
        raise ValueError(f"holds arrays of {size} bytes in {len(content)}: they overlap")
    return arrays


def _format(content: bytes):
    """The format of the content, and its reader."""
    if content.startswith(b"PK\x03\x04"):
        return _TORCH, read_archive
    if content.startswith(b"\x80"):
        return _TORCH, read_legacy
    if content[8:9] == b"{":
        return _SAFETENSORS, _read_safetensors
    raise ValueError("expected a safetensors or PyTorch file (zip or pickle), found neither")


def _read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    try:
        entries = deserialize(content)
    except SafetensorError as error:
        raise ValueError(f"is no whole safetensors file ({error})") from error
    unknown = [entry["dtype"] for _, entry in entries if entry["dtype"] not in _DTYPES]
    if unknown:
        raise ValueError(f"holds arrays of dtype {unknown[0]}, expected one of {', '.join(_DTYPES)}")
    arrays = {name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]) for name, entry in entries}
    return {name: arrays[name].reshape(entry["shape"]) for name, entry in sorted(entries, key=itemgetter(0))}
