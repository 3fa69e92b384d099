"""Files of an attacker: whatever they hold, nothing runs, one line says why, and nothing is written."""

import builtins
import copyreg
import gc
import os
import pickle
import posix
import struct
import subprocess
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from defenses.command_line import main
from defenses.files import pickle_machine, torch_tensors
from defenses.files.checkpoint import read_arrays
from tests.defenses.files.torch_files import (
    MAGIC,
    PROTOCOL,
    SYSTEM,
    WRITERS,
    archive,
    called,
    dictionary,
    legacy,
    pickled,
    plain,
    storage,
    tensor,
)
from tests.paths import ROOT


class Call:
    """Pickled, it is a call of the function when the pickle is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "owned"


def payloads(marker):
    """Calls that make the marker when Python's own `pickle` reads them, and the global that is refused."""
    touch = f"open({str(marker)!r}, 'w').close()"
    objects = np.array([Call(os.system, f"touch {marker}")], object)
    return {
        "os.system": (Call(os.system, f"touch {marker}"), "refuses posix.system"),
        "posix.mkdir": (Call(posix.mkdir, str(marker)), "refuses posix.mkdir"),
        "subprocess": (Call(subprocess.check_call, ["touch", str(marker)]), "refuses (commands|subprocess).check_call"),
        "eval": (Call(builtins.eval, touch), "refuses (__builtin__|builtins).eval"),
        "exec": (Call(builtins.exec, touch), "refuses (__builtin__|builtins).exec"),
        "getattr": (Call(getattr, Call(__import__, "os"), "system"), "refuses (__builtin__|builtins).getattr"),
        "object array": (objects, "refuses numpy"),
        "Path": (Call(Path.touch, marker), "refuses (__builtin__.getattr|pathlib.Path.touch)"),
    }


NAMES = list(payloads(Path("owned")))


def opcodes(payload, protocol=2):
    """The payload's pickle without its head and its stop."""
    return pickle.dumps(payload, protocol)[2:-1]


def bare(path, body):
    path.write_bytes(pickled(body))
    return path


@pytest.mark.parametrize("name", [name for name in NAMES if name != "getattr"])
def test_the_payloads_are_live(name, marker):
    """Positive control: with Python's own reader each of them does its work."""
    payload, _ = payloads(marker)[name]
    pickle.loads(pickle.dumps(payload, 2))
    gc.collect()
    assert marker.exists()


@pytest.mark.parametrize("write", [bare, *WRITERS])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_calls_are_refused_and_do_nothing(name, protocol, write, marker, tmp_path):
    payload, message = payloads(marker)[name]
    body = opcodes(payload, protocol)
    bodies = [body, plain(1) + body + b"\x86", dictionary(state_dict=dictionary(evil=body, weight=tensor()))]
    for content in bodies:
        path = write(tmp_path / "evil.pth", content)
        with pytest.raises(ValueError, match=message) as refusal:
            read_arrays(path)
        assert str(refusal.value).startswith(f"{path}: ")
        assert "only tensors and plain containers are read" in str(refusal.value)
        assert not marker.exists()


@pytest.mark.parametrize("position", range(5))
def test_calls_in_any_pickle_of_a_legacy_file(position, marker, tmp_path):
    parts = [plain(MAGIC), plain(PROTOCOL), plain(SYSTEM), dictionary(a=tensor()), plain(["0"])]
    parts[position] = opcodes(Call(os.system, f"touch {marker}"))
    path = tmp_path / "evil.th"
    path.write_bytes(b"".join(map(pickled, parts)) + struct.pack("<q", 6) + bytes(24))
    with pytest.raises(ValueError, match=r"refuses posix\.system"):
        read_arrays(path)
    assert not marker.exists()


def test_protocol_0_and_text_are_no_checkpoints(marker, tmp_path):
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {marker}"), 0))
    with pytest.raises(ValueError, match="expected a safetensors or PyTorch file"):
        read_arrays(path)
    assert not marker.exists()
    with pytest.raises(ValueError, match=r"refuses posix\.system"):
        read_arrays(archive(path, path.read_bytes()[:-1]))
    assert not marker.exists()


@pytest.mark.parametrize("write", WRITERS)
def test_registered_extensions_are_refused(write, marker, tmp_path):
    copyreg.add_extension("posix", "system", 240)
    try:
        body = opcodes(Call(os.system, f"touch {marker}"))
        assert b"\x82\xf0" in body
        pickle.loads(pickled(body))  # fills Python's cache of extensions, past which no restricted reader sees
        marker.unlink()
        with pytest.raises(ValueError, match="refuses the pickle opcode EXT1"):
            read_arrays(write(tmp_path / "evil.pth", body))
    finally:
        copyreg.remove_extension("posix", "system", 240)
    assert not marker.exists()


def test_every_global_of_torch_but_the_tensors_is_refused(tmp_path):
    for function in ("torch load", "torch.hub load", "torch._utils _rebuild_qtensor", "torch.storage _load_from_bytes"):
        path = archive(tmp_path / "evil.pth", called(function, plain(b"x")))
        with pytest.raises(ValueError, match=f"refuses {function.replace(' ', '.')}: only tensors"):
            read_arrays(path)
    path = archive(tmp_path / "evil.pth", called("torch._utils _rebuild_tensor_v2.__globals__", plain("x")))
    with pytest.raises(ValueError, match=r"refuses torch._utils._rebuild_tensor_v2.__globals__"):
        read_arrays(path)


FORGED = {
    "tensor without storage": called("torch._utils _rebuild_tensor", *map(plain, ("0", 0, (1,), (1,)))),
    "tensor of too few": called("torch._utils _rebuild_tensor", storage()),
    "tensor of too many": called("torch._utils _rebuild_tensor", storage(), *map(plain, (0, (1,), (1,), 0, 0, 0))),
    "tensor with a dtype of its own": called(
        "torch._utils _rebuild_tensor", storage(), *map(plain, (0, (1,), (1,))), plain("O")
    ),
    "dtype object": called(
        "torch._utils _rebuild_tensor_v3", storage(), *map(plain, (0, (1,), (1,), False, None, "O"))
    ),
    "parameter of a string": called("torch._utils _rebuild_parameter", *map(plain, ("x", True, None))),
    "size of strings": called("torch Size", plain(("x",))),
    "size of a list": called("torch Size", plain([1])),
    "dictionary of a string": called("collections OrderedDict", plain("ab")),
    "dictionary of triples": called("collections OrderedDict", plain([("a", "b", "c")])),
    "dictionary with a tuple as key": called("collections OrderedDict", plain([((1,), 2)])),
    "call of a storage type": called("torch FloatStorage", plain(3)),
    "call of a string": plain("torch._utils _rebuild_tensor") + b")R",
    "call with a list": b"ctorch\nSize\n]R",
    "state of a tensor": tensor() + plain({"size": (10**9,)}) + b"b",
    "state of a function": b"ctorch._utils\n_rebuild_tensor\n" + plain((None, {"__defaults__": (1,)})) + b"b",
    "state of a class": b"ccollections\nOrderedDict\n" + plain((None, {"x": 1})) + b"b",
    "items of a tensor": tensor() + plain("a") + plain(1) + b"s",
    "items of a string": plain("x") + plain("a") + plain(1) + b"s",
    "items of a list": b"]" + plain(1) + b"a" + plain(0) + plain(2) + b"s",
    "append to a tuple": b")" + plain(1) + b"a",
    "odd items": b"}(" + plain("a") + b"u",
    "new object": b"ccollections\nOrderedDict\n)\x81",
    "instance": b"(icollections\nOrderedDict\n",
    "object": b"(ccollections\nOrderedDict\no",
    "no stack": b"R",
    "no mark": b"t",
    "no memo": b"h\x07",
    "nothing": b"",
    "number as a key": b"}" + plain(1.5) + plain(1) + b"s",
    "long number as a key": b"}" + plain(2**64) + plain(1) + b"s",
    "list as a key": b"}" + plain([]) + plain(1) + b"s",
    "global without a name": plain(1) + plain(2) + b"\x93",
    "byte array of 2**60": b"\x96" + struct.pack("<Q", 2**60),
    "string of 2**60": b"\x8d" + struct.pack("<Q", 2**60),
}


@pytest.mark.parametrize("write", [bare, *WRITERS])
@pytest.mark.parametrize("name", FORGED)
def test_forged_pickles_are_refused(name, write, tmp_path):
    before = torch_tensors._tensor.__defaults__
    path = write(tmp_path / "evil.pth", FORGED[name])
    with pytest.raises(ValueError, match=r"evil\.pth: (holds (an?|no whole) |refuses )"):
        read_arrays(path)
    assert torch_tensors._tensor.__defaults__ == before


@pytest.mark.parametrize(
    "call",
    [
        plain(("torch", "Size")) + plain(((1,),)) + b"R",
        b"ctorch\nSize\n](" + plain((1,)) + b"eR",
        b"ctorch\nSize\nctorch\nSize\nR",
        plain("FloatStorage") + plain(((1,),)) + b"R",
    ],
)
def test_only_globals_are_called_and_only_with_tuples(call, tmp_path):
    with pytest.raises(ValueError, match="calls what is no function"):
        read_arrays(archive(tmp_path / "evil.pth", dictionary(a=call)))


def nested_key(depth, ring):
    """Tuples in tuples as a key: deep ones overflow the stack when hashed, doubled ones take 2**depth steps."""
    return b"}" + (b")" + (b"q\x00h\x00\x86" if ring else b"\x85") * depth) + plain(1) + b"s"


BOMBS = {
    "far memo slot": plain("x") + b"r\xff\xff\xff\xff" + b"N",
    "deep key": nested_key(300_000, ring=False),
    "doubled key": nested_key(60, ring=True),
    "one list made a dictionary many times": b"]("
    + b"".join(b"(" + plain(f"{i}") + b"Nt" for i in range(1500))
    + b"eq\x01]("
    + b"".join(b"ccollections\nOrderedDict\nh\x01\x85R" for _ in range(1500))
    + b"e",
    "huge number as a key, many times": b"}("
    + b"\x8b"
    + struct.pack("<i", 10**5)
    + b"\x01" * 10**5
    + b"q\x00N"
    + b"h\x00N" * 1000
    + b"u",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_time_and_memory_like_their_size(name, tmp_path):
    path = archive(tmp_path / "evil.pth", BOMBS[name])
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ValueError, match=r"evil\.pth: holds"):
        read_arrays(path)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 20
    assert peak < 60e6


def test_the_machine_refuses_persistent_ids_where_none_are_allowed(tmp_path):
    with pytest.raises(ValueError, match="persistent id, where none is allowed"):
        read_arrays(bare(tmp_path / "evil.pth", plain("0") + b"Q"))


def test_a_machine_with_a_live_global_would_run_it(marker):
    """Negative control: the table of globals is what keeps calls from running."""
    import io

    content = pickled(opcodes(Call(os.system, f"touch {marker}")))
    assert pickle_machine.load(io.BytesIO(content), {("posix", "system"): os.system}) == 0
    assert marker.exists()


@pytest.mark.parametrize(("write", "dataset"), [(archive, "digits"), (legacy, "cifar10")])
def test_the_command_line_refuses_in_one_line(write, dataset, marker, tmp_path, capsys):
    if dataset == "cifar10" and not (ROOT / "data" / "cifar-10-batches-bin").is_dir():
        pytest.skip("needs data/cifar-10-batches-bin")
    evil = dictionary(state_dict=dictionary(a=tensor(), b=opcodes(Call(os.system, f"touch {marker}"))))
    path = write(tmp_path / "evil.pth", evil)
    out = tmp_path / "results"
    arguments = ["evaluate", "resnet20", "--dataset", dataset, "--weights", str(path), "--out", str(out)]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {path}: refuses posix.system: only tensors and plain containers are read\n"
    assert list(tmp_path.iterdir()) == [path]
