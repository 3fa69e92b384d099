"""PyTorch's two file formats, without PyTorch: a zip archive, and before 1.6 pickles followed by raw storages.

Source: torch/serialization.py of PyTorch, `_save` and `_legacy_save`.
"""

import io
import struct
import zipfile
from collections.abc import Callable
from functools import cache

import numpy as np

from defenses.files import pickle_machine
from defenses.files.torch_tensors import ALLOWED, Storage, Tensor, storage, view

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict", "net")  # keys under which trainers put weights
PARALLEL = "module."  # what torch.nn.DataParallel puts before every name

_ZIP_ERRORS = (zipfile.BadZipFile, EOFError, RuntimeError, OSError, KeyError, OverflowError, struct.error)


def read_archive(content: bytes) -> dict[str, np.ndarray]:
    """The tensors in the bytes of a zip archive that `torch.save` wrote, as `read_legacy` returns them.

    Raises ValueError for anything else, above all for a compressed entry: `torch.save` stores them as they are.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read_entries(archive, len(content))
    except _ZIP_ERRORS as error:
        raise ValueError(f"is no whole zip archive ({error})") from error


def read_legacy(content: bytes) -> dict[str, np.ndarray]:
    """The tensors in the bytes of a file that `torch.save` wrote before PyTorch 1.6.

    Returns read-only arrays by name, of the tensors in the state dictionary, alone or under one of `WRAPPERS`;
    `module.` before every name is dropped, and what is no tensor is left out.
    Raises ValueError for anything else, and for a pickle that asks for more than tensors; nothing is executed.
    """
    stream, storages = io.BytesIO(content), {}

    def remember(identity: object) -> Storage:
        found = storage(identity)
        if storages.setdefault(found.key, found) != found:
            raise ValueError(f"describes storage {found.key} in two ways")
        return found

    if pickle_machine.load(stream, ALLOWED) != LEGACY_MAGIC:
        raise ValueError("is a pickle, but not one that torch.save wrote")
    if pickle_machine.load(stream, ALLOWED) != LEGACY_PROTOCOL:
        raise ValueError(f"is not of the protocol {LEGACY_PROTOCOL}, the only one that torch.save wrote")
    match pickle_machine.load(stream, ALLOWED):
        case {"little_endian": True}:
            pass
        case _:
            raise ValueError("was written on a big-endian machine: only little-endian files are read")
    state = pickle_machine.load(stream, ALLOWED, remember)
    keys = pickle_machine.load(stream, ALLOWED)
    if type(keys) is not list or not all(type(key) is str for key in keys) or set(keys) != set(storages):
        raise ValueError("lists other storages than its tensors have")
    data = {key: _next_storage(content, stream, storages[key]) for key in keys}
    return _arrays(state, lambda storage: data[storage.key])


def _read_entries(archive: zipfile.ZipFile, length: int) -> dict[str, np.ndarray]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) < len(archive.infolist()):
        raise ValueError("is an archive with two entries of one name")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries.values()):
        raise ValueError("is an archive with compressed or encrypted entries: torch.save writes none")
    if sum(max(entry.file_size, entry.compress_size) for entry in entries.values()) > length:
        raise ValueError(f"is an archive whose entries claim more than its {length} bytes")
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError(f"is an archive with {len(pickles)} entries data.pkl, expected 1: not written by torch.save")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("was written on a big-endian machine: only little-endian files are read")

    @cache
    def data(storage: Storage) -> memoryview:
        name = f"{folder}data/{storage.key}"
        if name not in entries:
            raise ValueError(f"has no entry {name}")
        return _checked(storage, memoryview(archive.read(name)))

    return _arrays(pickle_machine.load(io.BytesIO(archive.read(pickles[0])), ALLOWED, storage), data)


def _next_storage(content: bytes, stream: io.BytesIO, storage: Storage) -> memoryview:
    """The raw storage at the stream's position: the number of its elements, then they."""
    head = stream.read(8)
    count = int.from_bytes(head, "little", signed=True)
    if len(head) < 8:
        raise ValueError(f"ends before storage {storage.key}")
    if count != storage.numel:
        raise ValueError(f"has {count} elements in storage {storage.key}, expected {storage.numel}")
    start = stream.tell()
    data = memoryview(content)[start : start + count * storage.dtype.itemsize]
    stream.seek(len(data), io.SEEK_CUR)
    return _checked(storage, data)


def _checked(storage: Storage, data: memoryview) -> memoryview:
    if len(data) != (expected := storage.numel * storage.dtype.itemsize):
        raise ValueError(f"has {len(data)} bytes in storage {storage.key}, expected {expected}")
    return data


def _arrays(state: object, data: Callable[[Storage], memoryview]) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary by name, on the data of their storages."""
    if type(state) is dict:
        state = next((state[key] for key in WRAPPERS if type(state.get(key)) is dict), state)
    tensors = {name: value for name, value in state.items() if type(value) is Tensor} if type(state) is dict else {}
    if not tensors or not all(type(name) is str for name in tensors):
        raise ValueError("holds no dictionary of tensors by name")
    prefix = PARALLEL if all(name.startswith(PARALLEL) for name in tensors) else ""
    return {name.removeprefix(prefix): _named_view(name, tensor, data) for name, tensor in tensors.items()}


def _named_view(name: str, tensor: Tensor, data: Callable[[Storage], memoryview]) -> np.ndarray:
    try:
        return view(tensor, data(tensor.storage))
    except ValueError as error:
        raise ValueError(f"holds tensor {name}, which {error}") from error
