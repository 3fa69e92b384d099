"""Readers on a thousand mutations of every kind of file: a refusal (ValueError) or the right array, in time and memory.

Mutations are drawn from a seed: bytes flipped, overwritten by extreme ones, cut out, repeated or moved, and files cut
short; half of them in the structure of a file, half anywhere.
"""

import gzip
import hashlib
import io
import pickle
import resource
import signal
import tarfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from defenses.data import cifar10, mnist
from defenses.data.picture_folder import picture_folder
from defenses.files.checkpoint import read_arrays, read_sets
from defenses.files.resize import Resize
from tests.defenses.files.torch_files import archive, dictionary, legacy, plain, saved

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # as for users: Python's own, of odd escapes in pickles
]
MUTATIONS = 1000
GOOD = {"refused", "right"}
SECONDS = 5  # for one mutation, on a busy machine
MEMORY = 4  # times what lies in the files and what they hold
SLACK = 1 << 18  # bytes for whatever size
OUTSIDE_PYTHON = 1 << 29  # bytes of address space that libraries may take on top

random = np.random.default_rng(0)
LARGE = random.normal(size=(256, 256)).astype(np.float32)
SMALL = {f"layer{number}.weight": random.normal(size=(4, number + 1)).astype(np.float32) for number in range(20)}
WEIGHTS = {"large": LARGE, **SMALL}


class Case(NamedTuple):
    """How a file is read, and whether what came of it is right.

    file: the one that is mutated, written already. read: its folder -> arrays. right: (arrays, the file's content) ->
    whether they are right. bulk: a part of the content without structure. holds: bytes of what all files decode to.
    """

    file: Path
    read: Callable[[Path], Any]
    right: Callable[[Any, bytes], bool]
    bulk: bytes
    holds: int


def mutated(content: bytes, random: np.random.Generator, structure: np.ndarray) -> bytes:
    """The content with one to four mutations; structure: positions from which half of them are drawn."""
    changed = bytearray(content)
    for _ in range(random.integers(1, 5)):
        anywhere = random.random() < 0.5 or not len(structure)
        start = int(random.integers(len(content)) if anywhere else random.choice(structure))
        start = min(start, max(len(changed) - 1, 0))
        length = int(random.choice([1, 1, 2, 4, 8, 64]))
        match random.integers(7):
            case 0:
                changed[start : start + 1] = bytes([changed[start] ^ (1 << random.integers(8))])
            case 1:
                changed[start : start + length] = bytes([random.choice([0, 1, 0x7F, 0x80, 0xFF])]) * length
            case 2:
                changed[start : start + length] = random.bytes(length)
            case 3:
                del changed[start : start + length]
            case 4:
                changed[start:start] = changed[start : start + length]
            case 5:
                other = int(random.integers(len(changed)))
                changed[start : start + length] = changed[other : other + length]
            case 6:
                del changed[start if random.random() < 0.2 else -length :]
        if not changed:
            changed = bytearray(b"\0")
    return bytes(changed)


def findings(case: Case, mutations: int = MUTATIONS, seed: int = 0) -> Counter:
    """How often a mutation was refused, gave the right arrays, or what else it came to."""
    content, found = case.file.read_bytes(), Counter()
    bulk = content.find(case.bulk) if case.bulk else -1
    structure = np.arange(len(content))
    structure = structure if bulk < 0 else np.delete(structure, np.s_[bulk : bulk + len(case.bulk)])
    random = np.random.default_rng(seed)
    for number in range(mutations):
        case.file.write_bytes(mutated(content, random, structure))
        result = outcome(case)
        found[result] += 1
        if result not in GOOD:
            print(f"mutation {number}: {result}")
    case.file.write_bytes(content)
    return found


def outcome(case: Case) -> str:
    content = case.file.read_bytes()
    allowed = MEMORY * (len(content) + case.holds) + SLACK
    with limited():
        tracemalloc.start()
        try:
            arrays = case.read(case.file.parent)
            result = "right" if case.right(arrays, content) else "wrong arrays"
        except ValueError as error:
            result = "refused" if str(error) else "refused without a word"
        except BaseException as error:  # whatever else comes is a finding
            result = f"{type(error).__name__}: {error}"
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    return result if peak <= allowed else f"{peak} bytes, {allowed} are allowed"


class TooLong(BaseException):
    """Not caught by what catches exceptions."""


@contextmanager
def limited():
    """Limits on time and on address space, within which C code has to stay too."""

    def stop(*_):
        raise TooLong(f"{SECONDS} s")

    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, stop)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + OUTSIDE_PYTHON, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def of_the_file(arrays: dict[str, np.ndarray], content: bytes) -> bool:
    """Whether the arrays are stretches of the file's bytes; strided ones are told by nobody else."""
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    return all(array.tobytes() in content for array in arrays.values() if array.flags.c_contiguous)


def checkpoint(path: Path) -> Case:
    def read(_: Path) -> dict[str, np.ndarray]:
        keys = read_sets(path).keys
        return read_arrays(path, key=keys[-1])

    return Case(path, read, of_the_file, LARGE.tobytes(), 0)


def run() -> tuple[bytes, dict[str, bytes]]:
    """The opcodes of a training run, with options, numbers and two sets of weights, and its storages."""
    import argparse

    raw, storages = saved(WEIGHTS)
    averaged, more = saved(SMALL, first=100)
    options = plain(argparse.Namespace(lr=0.1, milestones=[1, 2], name="a"))
    content = dictionary(
        epoch=plain(3), args=options, state_dict_ema=averaged, metric=plain(np.float64(0.5)), state_dict=raw
    )
    return content, storages | more


def zipped(folder: Path) -> Case:
    return checkpoint(archive(folder / "a.pth", *run()))


def pickled(folder: Path) -> Case:
    content, storages = run()
    return checkpoint(legacy(folder / "a.pth", content, {key: (len(one) // 4, one) for key, one in storages.items()}))


def safetensors(folder: Path) -> Case:
    (folder / "a.safetensors").write_bytes(save({f"model.{name}": array for name, array in WEIGHTS.items()}))
    return checkpoint(folder / "a.safetensors")


# published data sets, of another size and with the hashes of what is written here

IMAGES = random.integers(0, 256, (10, 3072), np.uint8)
LABELS = random.integers(0, 10, 10)
RECORDS = np.column_stack([LABELS.astype(np.uint8), IMAGES]).tobytes()


def batches(monkeypatch, folder: Path, suffix: str, content: bytes) -> list[Path]:
    monkeypatch.setattr(cifar10, "PER_BATCH", len(IMAGES))
    for name in cifar10.RECORDS.sha256:
        monkeypatch.setitem(cifar10.RECORDS.sha256, name, hashlib.sha256(RECORDS).hexdigest())
    folder.mkdir()
    paths = [folder / f"{name}{suffix}" for name in cifar10.BATCHES]
    for path in paths:
        path.write_bytes(content)
    return paths


def is_cifar10(found: cifar10.Dataset, _: bytes) -> bool:
    expected = IMAGES.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / np.float32(255)
    return np.array_equal(found.test.images[:], expected) and np.array_equal(found.test.labels, LABELS)


def cifar10_case(file: Path, root: Path) -> Case:
    return Case(file, lambda _: cifar10.read(root), is_cifar10, IMAGES.tobytes(), 6 * len(RECORDS))


def cifar10_pickles(folder: Path, monkeypatch) -> Case:
    batch = pickle.dumps({"data": IMAGES, "labels": LABELS.tolist(), "batch_label": "testing batch"}, 2)
    return cifar10_case(batches(monkeypatch, folder / "cifar-10-batches-py", "", batch)[-1], folder)


def cifar10_records(folder: Path, monkeypatch) -> Case:
    return cifar10_case(batches(monkeypatch, folder / "cifar-10-batches-bin", ".bin", RECORDS)[-1], folder)


def cifar10_archive(folder: Path, monkeypatch) -> Case:
    batches(monkeypatch, folder / "not-looked-at", ".bin", RECORDS)
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name in cifar10.RECORDS.sha256:
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(RECORDS)
            file.addfile(entry, io.BytesIO(RECORDS))
    return cifar10_case(path, folder)


PIXELS = random.integers(0, 256, (50, 28, 28), np.uint8)
DIGITS = random.integers(0, 10, 50).astype(np.uint8)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def idx_gz(folder: Path, monkeypatch) -> Case:
    (folder / "mnist").mkdir()
    for name in mnist.MNIST_FILES.sha256:
        content = idx(PIXELS if "images" in name else DIGITS)
        monkeypatch.setitem(mnist.MNIST_FILES.sha256, name, hashlib.sha256(content).hexdigest())
        (folder / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content))

    def right(found: mnist.Dataset, _: bytes) -> bool:
        images = found.test.images[:]
        return np.array_equal(images[..., 0], PIXELS / np.float32(255)) and np.array_equal(found.test.labels, DIGITS)

    file = folder / "mnist" / "t10k-images-idx3-ubyte.gz"
    return Case(file, lambda _: mnist.read_mnist(folder), right, b"", 2 * PIXELS.nbytes)


# pictures


def pictures(folder: Path, suffix: str, resize: Resize | None) -> Case:
    """Class folders of smooth pictures; what a changed JPEG shows is not to be told, but its shape and range are."""
    ramp = np.linspace(0, 255, 64)
    picture = np.stack([np.add.outer(ramp, ramp) / 2, *np.meshgrid(ramp, ramp)], axis=-1).astype(np.uint8)
    for name in ("a/1", "a/2", "b/3"):
        (folder / f"{name}{suffix}").parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{name}{suffix}")

    def read(_: Path) -> np.ndarray:
        return picture_folder(folder, resize).test.images[:]

    expected = read(folder)

    def right(found: np.ndarray, _: bytes) -> bool:
        if found.shape != expected.shape or found.dtype != np.float32 or not (0 <= found.min() <= found.max() <= 1):
            return False
        return np.array_equal(found[[0, 2]], expected[[0, 2]]) and (suffix == ".jpg" or np.array_equal(found, expected))

    return Case(folder / "a" / f"2{suffix}", read, right, b"", 10 * expected.nbytes)


CASES: dict[str, Callable[[Path, Any], Case]] = {
    "pth zip": lambda folder, _: zipped(folder),
    "legacy pickle": lambda folder, _: pickled(folder),
    "safetensors": lambda folder, _: safetensors(folder),
    "CIFAR-10 pickles": cifar10_pickles,
    "CIFAR-10 records": cifar10_records,
    "CIFAR-10 archive": cifar10_archive,
    "idx.gz": idx_gz,
    "JPEG folder": lambda folder, _: pictures(folder, ".jpg", None),
    "JPEG folder, resized": lambda folder, _: pictures(folder, ".jpg", Resize(40, 32)),
    "PNG folder": lambda folder, _: pictures(folder, ".png", None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_thousand_mutations(name, tmp_path, monkeypatch):
    case = CASES[name](tmp_path, monkeypatch)
    assert outcome(case) == "right"
    found = findings(case)
    assert set(found) <= GOOD, found
    assert found["refused"] >= MUTATIONS / 10, found


# negative controls: readers that fail in each of the ways


def naive(read: Callable[[bytes], np.ndarray], right: bool = True) -> Callable[[Path], Case]:
    def case(folder: Path) -> Case:
        (folder / "a").write_bytes(idx(DIGITS))
        return Case(folder / "a", lambda _: read((folder / "a").read_bytes()), lambda *_: right, b"", 0)

    return case


def believing(content: bytes) -> np.ndarray:
    """Takes the header at its word and makes room for it."""
    return np.zeros(int.from_bytes(content[4:8], "big"), np.uint8)


def looping(content: bytes) -> np.ndarray:
    while content[3] != 1:
        time.sleep(0.01)
    return np.zeros(0)


NAIVE = {
    "IndexError": naive(lambda content: np.zeros(1)[content[3]]),
    "bytes, ": naive(believing),
    "TooLong": naive(looping),
    "wrong arrays": naive(lambda content: np.frombuffer(content, np.uint8), right=False),
}


@pytest.mark.parametrize("fault", NAIVE)
def test_naive_readers_are_noticed(fault, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SECONDS", 0.1)
    found = findings(NAIVE[fault](tmp_path), mutations=300)
    assert any(fault in one for one in found), found


def test_mutations_are_reproducible(tmp_path):
    case = safetensors(tmp_path)
    content = case.file.read_bytes()
    changed = [
        [mutated(content, random, np.arange(100)) for _ in range(20)]
        for random in (np.random.default_rng(seed) for seed in (0, 0, 1))
    ]
    assert changed[0] == changed[1] != changed[2]
    assert content not in changed[0]
