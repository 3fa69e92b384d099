"""The arrays in a checkpoint file, whatever its format, and nothing but arrays."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_dtypes import bfloat16
from safetensors import SafetensorError, deserialize

from defenses.files.checkpoint_parts.shards import digest, is_index, require_no_shard, shards
from defenses.files.checkpoint_parts.weight_sets import WHOLE, Sets, chosen
from defenses.files.checkpoint_parts.wrappers import unwrapped
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


class Chosen(NamedTuple):
    """One set of weights of a file: its arrays by name, its key, and the keys of the file's other sets."""

    arrays: dict[str, np.ndarray]
    key: str
    others: tuple[str, ...]


def read_arrays(path: Path, sha256: str = "", key: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of `read_chosen` alone."""
    return read_chosen(path, sha256, key).arrays


def read_chosen(path: Path, sha256: str = "", key: str | None = None) -> Chosen:
    """The set of weights in a file that is under `key`, else the one that `weight_sets.chosen` takes.

    Raises ValueError as `read_sets` does, and for a key that is not there.
    """
    keys, arrays = read_sets(path, sha256)
    with _named(path):
        used = chosen(keys, key)
    return Chosen(arrays(used), used, tuple(other for other in keys if other != used))


def read_sets(path: Path, sha256: str = "") -> Sets:
    """The sets of weights in a safetensors file or in a PyTorch file (zip or legacy pickle); nothing is executed.

    path: the file, or the index (`….index.json`) of a checkpoint in several.
    sha256: the hash or its leading digits, in hexadecimal, as `shards.digest` computes it; "" where it is not known.
        A name that ends in eight such digits, `resnet50-0676ba61.pth`, is held to them: so `torch.hub` names files.
    Prefixes that wrappers put before all names are dropped. The format is told by the content. Raises ValueError,
    naming the file, what was expected and what was found, for a missing, truncated or altered file, for one whose
    ending belongs to the other format, for a single shard, for a pickle that asks for anything but tensors and what
    `inert` lists; and once arrays are asked for, where tensors share more than the file holds.
    """
    path = Path(path)
    content = _content(path)
    found = digest(path) if is_index(path) else hashlib.sha256(content).hexdigest()
    _check_hash(path, found, sha256)
    require_no_shard(path)
    if is_index(path):
        return Sets((WHOLE,), lambda _: unwrapped(_joined(path)))
    return _sets(path, content)


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


def _check_hash(path: Path, found: str, sha256: str) -> None:
    if not re.fullmatch("[0-9a-f]{0,64}", sha256.lower()):
        raise ValueError(f"sha256 must be up to 64 hexadecimal digits, got {sha256!r}")
    if not found.startswith(sha256.lower()):
        raise ValueError(f"{path}: expected sha256 {sha256}, found {found}")
    name = _HUB_NAME.fullmatch(path.name)
    if name and not found.startswith(name[1]):
        raise ValueError(
            f"{path}: expected a sha256 that starts with {name[1]} as the name says, found {found}; "
            "rename the file if these digits are no hash"
        )


def _joined(path: Path) -> dict[str, np.ndarray]:
    """The arrays of all shards of an index, each of which must hold just those that the index says."""
    arrays: dict[str, np.ndarray] = {}
    for shard, names in shards(path).items():
        content = _content(shard)
        with _named(shard):
            keys, decode = _decoder(shard, content)
            found = decode(chosen(keys, None))
        if wrong := sorted(names ^ found.keys()):
            fault = "lacks it" if wrong[0] in names else "holds it all the same"
            raise ValueError(f"{path}: is not the index of {shard.name}: as for {wrong[0]:.80}, the shard {fault}")
        arrays |= found
    return arrays


def _sets(path: Path, content: bytes) -> Sets:
    """The sets of a file, unwrapped; the file is named in what is raised."""
    with _named(path):
        keys, decode = _decoder(path, content)

    def arrays(key: str) -> dict[str, np.ndarray]:
        with _named(path):
            return unwrapped(decode(key))

    return Sets(keys, arrays)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what is raised about it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _decoder(path: Path, content: bytes) -> Sets:
    """The sets of a file as they are in it."""
    found, read = _format(content)
    expected = _FORMATS.get(path.suffix.lower(), found)
    if found != expected:
        raise ValueError(f"expected a {expected} file as its name says, found {found}")
    keys, decode = read(content)

    def arrays(key: str) -> dict[str, np.ndarray]:
        decoded = decode(key)
        size = sum(array.nbytes for array in decoded.values())
        if size > len(content):
            raise ValueError(f"holds arrays of {size} bytes in {len(content)}: they overlap")
        return decoded

    return Sets(keys, arrays)


def _format(content: bytes):
    """The format of the content, and its reader."""
    if content[8:9] == b"{":  # behind a length, whose bytes may be the others' marks
        return _SAFETENSORS, _read_safetensors
    if content.startswith(b"PK\x03\x04"):
        return _TORCH, read_archive
    if content.startswith(b"\x80"):
        return _TORCH, read_legacy
    raise ValueError("expected a safetensors or PyTorch file (zip or pickle), found neither")


def _read_safetensors(content: bytes) -> Sets:
    try:
        entries = deserialize(content)
    except SafetensorError as error:
        raise ValueError(f"is no whole safetensors file ({error})") from error
    unknown = [entry["dtype"] for _, entry in entries if entry["dtype"] not in _DTYPES]
    if unknown:
        raise ValueError(f"holds arrays of dtype {unknown[0]}, expected one of {', '.join(_DTYPES)}")
    arrays = {name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]) for name, entry in entries}
    shaped = {name: arrays[name].reshape(entry["shape"]) for name, entry in sorted(entries, key=itemgetter(0))}
    return Sets((WHOLE,), lambda _: shaped)
