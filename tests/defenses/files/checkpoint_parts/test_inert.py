"""What training runs save beside their tensors: it is passed over, never run, and never multiplies memory."""

import argparse
import collections
import os
import pathlib
import time
import tracemalloc

import numpy as np
import pytest

from defenses.files.checkpoint import read_arrays
from tests.defenses.files.torch_files import WRITERS, archive, called, dictionary, plain, tensor

OPTIONS = argparse.Namespace(
    lr=0.1, epochs=300, milestones=[100, 150], model="resnet18", data=pathlib.Path("/data"), nested={"amp": True}
)
NUMBERS = [np.dtype(code).type(3) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")]
BESIDE = {
    "options": OPTIONS,
    "options in options": argparse.Namespace(args=[OPTIONS, OPTIONS]),
    "NumPy numbers": NUMBERS,
    "milestones": collections.Counter([100, 150, 150]),
    "paths": [pathlib.Path("a/b"), pathlib.Path("/")],
    "ordered": collections.OrderedDict(top1=np.float64(91.2)),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_the_tensors_is_passed_over(name, write, tmp_path):
    beside = plain(BESIDE[name])
    path = write(tmp_path / "run.pth", dictionary(args=beside, state_dict=dictionary(weight=tensor()), metric=beside))
    assert list(read_arrays(path)) == ["weight"]


def test_scalars_by_the_names_of_numpy_1(tmp_path):
    by_numpy_2 = plain(np.float64(0.5))
    assert b"numpy._core.multiarray\nscalar" in by_numpy_2
    by_numpy_1 = by_numpy_2.replace(b"numpy._core.", b"numpy.core.")
    path = archive(tmp_path / "run.pth", dictionary(metric=by_numpy_1, model=dictionary(weight=tensor())))
    assert list(read_arrays(path)) == ["weight"]


def test_a_device_of_torch(tmp_path):
    device = called("torch device", plain("cuda"), plain(0))
    path = archive(tmp_path / "run.pth", dictionary(device=device, model=dictionary(weight=tensor())))
    assert list(read_arrays(path)) == ["weight"]


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


NAMESPACE = b"cargparse\nNamespace\n)\x81"
REFUSED = {
    "array": (plain(np.zeros(3)), r"refuses numpy\._core\.multiarray\._reconstruct"),
    "string": (plain(np.str_("abc")), "NumPy scalar of dtype 'U3', expected one of b1, i1"),
    "object": (called("numpy dtype", *map(plain, ("O8", False, True))), "NumPy scalar of dtype 'O8'"),
    "date": (plain(np.datetime64("2020-01-01")), "NumPy scalar of dtype 'M8'"),
    "complex number": (plain(np.complex64(1j)), "NumPy scalar of dtype 'c8'"),
    "dtype that is no text": (called("numpy dtype", *map(plain, (1, 2, 3))), "dtype <class 'int'>"),
    "scalar without a dtype": (
        called("numpy._core.multiarray scalar", *map(plain, ("f8", "12345678"))),
        "bytes of its",
    ),
    "too few bytes": (plain(np.float64(1)).replace(b"f8", b"f4"), "has not the bytes of its dtype"),
    "parser": (b"cargparse\nArgumentParser\n)\x81", r"refuses argparse\.ArgumentParser"),
    "default dictionary": (plain(collections.defaultdict(list)), r"refuses collections\.defaultdict"),
    "instance of a function": (b"cnumpy\ndtype\n)\x81", "refuses the pickle opcode NEWOBJ: only classes"),
    "instance of an instance": (NAMESPACE + b")\x81", "refuses the pickle opcode NEWOBJ: only classes"),
    "instance of a string": (plain("argparse Namespace") + b")\x81", "refuses the pickle opcode NEWOBJ: only classes"),
    "items of options": (NAMESPACE + plain("a") + plain(1) + b"s", "sets items of what is no dictionary"),
    "a call in options": (NAMESPACE + plain({"a": Evil("x")}) + b"b", r"refuses posix\.system"),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name, write, tmp_path):
    content, message = REFUSED[name]
    path = write(tmp_path / "run.pth", dictionary(args=content, state_dict=dictionary(weight=tensor())))
    with pytest.raises(ValueError, match=message) as refusal:
        read_arrays(path)
    assert str(refusal.value).startswith(f"{path}: ")


def test_a_call_in_options_is_not_run(tmp_path):
    marker = tmp_path / "owned"
    evil = plain(argparse.Namespace(hook=Evil(marker)))
    with pytest.raises(ValueError, match=r"refuses posix\.system"):
        read_arrays(archive(tmp_path / "run.pth", dictionary(args=evil, model=dictionary(weight=tensor()))))
    assert not marker.exists()


def test_naming_options_again_does_not_multiply_them(tmp_path):
    """A megabyte of text that is the state of ten thousand options."""
    text = plain("x" * 10**6) + b"q\x70"
    many = b"](" + text + (NAMESPACE + b"h\x70b") * 10_000 + b"e"
    path = archive(tmp_path / "run.pth", dictionary(args=many, model=dictionary(weight=tensor())))
    size = path.stat().st_size
    tracemalloc.start()
    start = time.process_time()
    assert list(read_arrays(path)) == ["weight"]
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 4 * size
