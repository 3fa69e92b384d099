"""PyTorch files written opcode by opcode, so that tests can say in them what torch.save never would."""

import pickle
import struct
import zipfile

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def plain(value):
    """The opcodes that leave a plain value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def pickled(opcodes):
    return b"\x80\x02" + opcodes + b"."


def called(function, *arguments):
    """The opcodes of function(*arguments), the function named "module name", the arguments given as opcodes."""
    module, name = function.split(" ")
    return f"c{module}\n{name}\n(".encode() + b"".join(arguments) + b"tR"


def storage(key="0", numel=6, kind="torch FloatStorage"):
    module, name = kind.split(" ")
    parts = [plain("storage"), f"c{module}\n{name}\n".encode(), plain(key), plain("cpu"), plain(numel)]
    return b"(" + b"".join(parts) + b"tQ"


def tensor(size=(2, 3), stride=(3, 1), offset=0, of=None):
    arguments = [of or storage(), *map(plain, (offset, size, stride, False)), called("collections OrderedDict")]
    return called("torch._utils _rebuild_tensor_v2", *arguments)


def dictionary(**entries):
    return b"}(" + b"".join(plain(name) + value for name, value in entries.items()) + b"u"


def archive(path, opcodes, storages=None, folder="archive/", compression=zipfile.ZIP_STORED, records=None):
    """A file of PyTorch's zip format; storages: bytes by key; records: bytes by name."""
    storages = {"0": bytes(24)} if storages is None else storages
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(f"{folder}data.pkl", pickled(opcodes))
        for name, content in {"byteorder": b"little", **(records or {})}.items():
            file.writestr(f"{folder}{name}", content)
        for key, content in storages.items():
            file.writestr(f"{folder}data/{key}", content)
    return path


def legacy(path, opcodes, storages=None, system=SYSTEM):
    """A file of PyTorch's legacy format; storages: (number of elements, bytes) by key."""
    storages = {"0": (6, bytes(24))} if storages is None else storages
    heads = [plain(MAGIC), plain(PROTOCOL), plain(system), opcodes, plain(list(storages))]
    tails = [struct.pack("<q", count) + content for count, content in storages.values()]
    path.write_bytes(b"".join(map(pickled, heads)) + b"".join(tails))
    return path


WRITERS = (archive, legacy)


def saved(arrays, first=0):
    """The opcodes of a dictionary of float32 arrays by name, and its storages, whose keys count from `first`."""
    opcodes, storages = {}, {}
    for key, (name, array) in enumerate(arrays.items(), first):
        stride = [step // 4 for step in np.empty(array.shape, np.float32).strides]
        opcodes[name] = tensor(array.shape, tuple(stride), of=storage(f"{key}", array.size))
        storages[f"{key}"] = np.asarray(array, np.float32, order="C").tobytes()
    return dictionary(**opcodes), storages
