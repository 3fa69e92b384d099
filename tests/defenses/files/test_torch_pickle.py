import struct
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from defenses.files import torch_tensors
from defenses.files.checkpoint import read_arrays
from tests.defenses.files.torch_files import (
    MAGIC,
    PROTOCOL,
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
from tests.paths import WEIGHTS

SIX = np.arange(6, dtype="<f4")


def written_by_torch(torch, path, content, zipped):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return read_arrays(path)


def same(array, expected):
    """Bit for bit the tensor, dtype and shape included."""
    if str(expected.dtype) == "torch.bfloat16":
        assert array.dtype == ml_dtypes.bfloat16
        array, expected = array.astype(np.float32), expected.float()
    expected = expected.detach().numpy()
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(array, expected)
    return True


@pytest.mark.parametrize("name", ["resnet20-12fca82f.th", "resnet56-4bfd9763.th"])
def test_published_files_are_what_torch_reads(name):
    torch = pytest.importorskip("torch")
    if not (WEIGHTS / name).exists():
        pytest.skip(f"needs data/weights/{name}")
    expected = torch.load(WEIGHTS / name, map_location="cpu", weights_only=True)["state_dict"]
    arrays = read_arrays(WEIGHTS / name)
    assert list(arrays) == [key.removeprefix("module.") for key in expected]
    assert all(same(arrays[key.removeprefix("module.")], value) for key, value in expected.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_kind_are_what_torch_wrote(zipped, tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(60.0).reshape(3, 4, 5)
    state = {
        "whole": base,
        "view": base[1:, 2],
        "strided": base[:, ::2, 1::3],
        "transposed": base.permute(2, 0, 1),
        "shared": base.flatten()[7:11],
        "parameter": torch.nn.Parameter(torch.randn(3, 2)),
        "frozen": torch.nn.Parameter(torch.randn(2), requires_grad=False),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "bfloat16": torch.arange(6).bfloat16().reshape(2, 3).T,
        "float16": torch.randn(5).half(),
        "float64": torch.randn(5).double(),
        "bool": torch.tensor([True, False, True]),
        **{f"{dtype}": torch.tensor([1, 2, 100]).to(dtype) for dtype in (torch.int64, torch.int32, torch.int16)},
        **{f"{dtype}": torch.tensor([1, 2, 100]).to(dtype) for dtype in (torch.int8, torch.uint8)},
    }
    arrays = written_by_torch(torch, tmp_path / "a.pth", state, zipped)
    assert list(arrays) == list(state)
    assert all(same(arrays[name], value) for name, value in state.items())
    assert not any(array.flags.writeable for array in arrays.values())


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_dtypes_without_a_storage_type_of_their_own(dtype, tmp_path):
    torch = pytest.importorskip("torch")
    value = torch.tensor([1, 2, 3, 4]).to(getattr(torch, dtype))[1:]
    arrays = written_by_torch(torch, tmp_path / "a.pth", {"a": value}, zipped=True)
    assert same(arrays["a"], value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_module_with_its_metadata_and_a_trainers_other_entries(zipped, tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state = module.state_dict()
    assert state._metadata
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    torch.stack([parameter.sum() for parameter in module.parameters()]).sum().backward()
    optimizer.step()
    content = {
        "epoch": 7,
        "best_prec1": 91.25,
        "args": {"lr": 0.1, "milestones": [100, 150], "nesterov": None, "name": "é"},
        "size": torch.Size([1, 2]),
        "dtype": torch.float32,
        "optimizer": optimizer.state_dict(),
        "state_dict": state,
    }
    arrays = written_by_torch(torch, tmp_path / "a.pth", content, zipped)
    assert list(arrays) == list(state)
    assert all(same(arrays[name], value) for name, value in state.items())


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("key", ["state_dict", "model", "model_state", "model_state_dict", "net"])
def test_state_under_a_trainers_key(write, key, tmp_path):
    inner = dictionary(weight=tensor())
    arrays = read_arrays(write(tmp_path / "a.pth", dictionary(epoch=plain(3), **{key: inner})))
    assert [(name, array.shape) for name, array in arrays.items()] == [("weight", (2, 3))]


@pytest.mark.parametrize("write", WRITERS)
def test_prefix_of_data_parallel_is_dropped_when_every_name_has_it(write, tmp_path):
    names = {"module.a": tensor(), "module.module.b": tensor()}
    assert list(read_arrays(write(tmp_path / "a.pth", dictionary(**names)))) == ["a", "module.b"]
    assert list(read_arrays(write(tmp_path / "b.pth", dictionary(c=tensor(), **names)))) == ["c", *names]


def test_values_and_folders_of_an_archive(tmp_path):
    for folder in ("archive/", "resnet20/", "a/b/", ""):
        path = archive(tmp_path / "a.pth", dictionary(a=tensor((3, 2), (1, 3))), {"0": SIX.tobytes()}, folder)
        np.testing.assert_array_equal(read_arrays(path)["a"], SIX.reshape(2, 3).T)


def test_items_of_python_2_come_as_a_list_of_pairs(tmp_path):
    pairs = b"](" + b"](" + plain("a") + tensor() + b"e" + b"e"
    path = archive(tmp_path / "a.pth", called("collections OrderedDict", pairs), {"0": SIX.tobytes()})
    np.testing.assert_array_equal(read_arrays(path)["a"], SIX.reshape(2, 3))


OUTSIDE = [
    (((2, 3), (3, 1), 1), "reaches element 7 of a storage of 6"),
    (((7,), (1,), 0), "reaches element 7 of a storage of 6"),
    (((2,), (6,), 0), "reaches element 7 of a storage of 6"),
    (((2, 2), (2**62, 1), 0), "reaches element"),
    (((1,), (1,), 6), "reaches element 7 of a storage of 6"),
    (((1,), (1,), 2**63 - 1), "reaches element"),
    (((), (), 6), "reaches element 7 of a storage of 6"),
    (((2**40,), (0,), 0), "has 1099511627776 elements on a storage of 6"),
    (((4, 3), (0, 1), 0), "has 12 elements on a storage of 6"),
    (((-1,), (1,), 0), "numbers >= 0"),
    (((2,), (-1,), 5), "numbers >= 0"),
    (((2,), (1,), -1), "numbers >= 0"),
    (((2,), (2**63,), 0), "numbers >= 0"),
    (((0, 2**62, 2**62), (1, 1, 1), 0), "too big"),
    (((2, 3), (1,), 0), "numbers >= 0"),
    (((2.0,), (1,), 0), "numbers >= 0"),
    (((True,), (1,), 0), "numbers >= 0"),
    (((1,) * 33, (1,) * 33, 0), "more than 32 dimensions"),
    (([6], [1], 0), "numbers >= 0"),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("geometry", "message"), OUTSIDE)
def test_tensors_outside_their_storage_are_refused(write, geometry, message, tmp_path):
    path = write(tmp_path / "a.pth", dictionary(fine=tensor(), hostile=tensor(*geometry)))
    with pytest.raises(ValueError, match=message) as refusal:
        read_arrays(path)
    assert str(refusal.value).startswith(f"{path}: holds ")


@pytest.mark.parametrize("write", WRITERS)
def test_the_last_elements_of_a_storage_are_inside(write, tmp_path):
    names = {"a": tensor((2, 2), (2, 1), 2), "b": tensor((1,), (2**62,), 5), "c": tensor((), (), 5)}
    arrays = read_arrays(write(tmp_path / "a.pth", dictionary(**names)))
    assert [array.shape for array in arrays.values()] == [(2, 2), (1,), ()]


@pytest.mark.parametrize("claimed", [5, 7, 2**40, 2**63 - 1, 0])
def test_storages_of_another_length_than_claimed(claimed, tmp_path):
    hostile = dictionary(a=tensor((1,), (1,), of=storage(numel=claimed)))
    with pytest.raises(ValueError, match=f"has 24 bytes in storage 0, expected {4 * claimed}"):
        read_arrays(archive(tmp_path / "a.pth", hostile))
    with pytest.raises(ValueError, match=f"has 6 elements in storage 0, expected {claimed}"):
        read_arrays(legacy(tmp_path / "a.pth", hostile))
    if claimed > 6:
        with pytest.raises(ValueError, match=f"has 24 bytes in storage 0, expected {4 * claimed}"):
            read_arrays(legacy(tmp_path / "a.pth", hostile, {"0": (claimed, bytes(24))}))


@pytest.mark.parametrize(
    "of",
    [
        storage(key="../../../../etc/hostname"),
        storage(key="/etc/hostname"),
        storage(key="1"),
        storage(kind="torch ComplexFloatStorage"),
        storage(kind="builtins float"),
        storage(numel=-6),
        b"(" + b"".join(map(plain, ("storage", "FloatStorage", "0", "cpu", 6.0))) + b"tQ",
        b"(" + plain("storage") + b"tQ",
        plain("storage") + b"Q",
        b"(" + plain("module") + plain("Net") + plain("net.py") + plain("class Net: ...") + b"tQ",
    ],
)
@pytest.mark.parametrize("write", WRITERS)
def test_storages_that_are_none(write, of, tmp_path):
    with pytest.raises(ValueError, match=r"a\.pth: (holds tensor a, which has no entry|refuses|lists|holds)"):
        read_arrays(write(tmp_path / "a.pth", dictionary(a=tensor(of=of))))


def test_storages_with_long_keys_are_refused():
    identity = ("storage", "FloatStorage", "0" * 1000, "cpu", 6)
    assert torch_tensors.storage(identity).key == "0" * 1000
    with pytest.raises(ValueError, match="no storage of a known type"):
        torch_tensors.storage((*identity[:2], "0" * 1001, *identity[3:]))


def test_a_legacy_storage_that_is_not_in_the_file(tmp_path):
    for storages in ({}, {"0": (6, bytes(24)), "1": (0, b"")}):
        with pytest.raises(ValueError, match="lists other storages than its tensors have"):
            read_arrays(legacy(tmp_path / "a.pth", dictionary(a=tensor()), storages))
    other = dictionary(a=tensor(), b=tensor(of=storage(kind="torch IntStorage")))
    with pytest.raises(ValueError, match="describes storage 0 in two ways"):
        read_arrays(legacy(tmp_path / "a.pth", other))


def test_a_legacy_file_that_ends_before_an_empty_storage(tmp_path):
    empty = dictionary(a=tensor((0,), (1,), of=storage(numel=0)))
    path = legacy(tmp_path / "a.pth", empty, {"0": (0, b"")})
    assert read_arrays(path)["a"].shape == (0,)
    for cut in range(1, 9):
        path.write_bytes(legacy(path, empty, {"0": (0, b"")}).read_bytes()[:-cut])
        with pytest.raises(ValueError, match="ends before storage 0"):
            read_arrays(path)


def test_pickles_that_torch_did_not_write_are_refused(tmp_path):
    content = legacy(tmp_path / "a.pth", dictionary(a=tensor())).read_bytes()
    other = {MAGIC: (MAGIC + 1, "not one that torch.save wrote"), PROTOCOL: (PROTOCOL + 1, "not of the protocol 1001")}
    for number, (wrong, message) in other.items():
        (tmp_path / "a.pth").write_bytes(content.replace(pickled(plain(number)), pickled(plain(wrong)), 1))
        with pytest.raises(ValueError, match=message):
            read_arrays(tmp_path / "a.pth")


def test_big_endian_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="big-endian"):
        read_arrays(archive(tmp_path / "a.pth", dictionary(a=tensor()), records={"byteorder": b"big"}))
    with pytest.raises(ValueError, match="big-endian"):
        read_arrays(legacy(tmp_path / "a.pth", dictionary(a=tensor()), system={"little_endian": False}))


def test_compressed_entries_are_refused_before_they_are_unpacked(tmp_path):
    bomb = archive(tmp_path / "a.pth", dictionary(a=tensor()), {"0": bytes(10**8)}, compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(ValueError, match="compressed or encrypted"):
        read_arrays(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**7


def test_entries_that_lie_about_their_size(tmp_path):
    content = archive(tmp_path / "a.pth", dictionary(a=tensor())).read_bytes()
    start = content.rindex(b"PK\x01\x02")  # of the last entry of the directory: the storage
    for size, message in {
        2**31: "claim more",
        len(content): "claim more",
        25: "no whole",
        23: "no whole",
    }.items():
        lying = content[: start + 20] + struct.pack("<II", size, size) + content[start + 28 :]
        (tmp_path / "a.pth").write_bytes(lying)
        with pytest.raises(ValueError, match=message):
            read_arrays(tmp_path / "a.pth")


def test_archives_with_two_entries_of_one_name_or_two_pickles_or_none(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "a.pth", dictionary(a=tensor()), folder="", records={"data/0": bytes(24)})
    with pytest.raises(ValueError, match="two entries of one name"):
        read_arrays(path)
    with pytest.raises(ValueError, match=r"2 entries data\.pkl, expected 1"):
        read_arrays(archive(tmp_path / "a.pth", dictionary(a=tensor()), records={"other/data.pkl": b"N."}))
    np.savez(tmp_path / "b.npz", a=SIX)
    (tmp_path / "b.npz").rename(tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"0 entries data\.pkl, expected 1"):
        read_arrays(tmp_path / "b.pth")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    "state",
    [plain({}), plain([]), plain(None), plain({"epoch": 1}), dictionary(deep=dictionary(er=tensor())), tensor()],
)
def test_files_without_named_tensors_are_refused(write, state, tmp_path):
    with pytest.raises(ValueError, match="no dictionary of tensors by name"):
        read_arrays(write(tmp_path / "a.pth", state, None if b"Q" in state else {}))


def test_metadata_that_negate_a_tensor_are_refused(tmp_path):
    parts = [storage(), *map(plain, (0, (2,), (1,), False)), called("collections OrderedDict"), plain({"neg": True})]
    path = archive(tmp_path / "a.pth", dictionary(a=called("torch._utils _rebuild_tensor_v2", *parts)))
    with pytest.raises(ValueError, match="metadata"):
        read_arrays(path)
