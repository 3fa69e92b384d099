"""Networks in several files, with an index that says which array lies in which."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from defenses.files.checkpoint import read_arrays
from defenses.files.checkpoint_parts.shards import digest
from defenses.weights.cached import card_path
from tests.defenses.files.torch_files import archive, saved

FIRST = {"model.a": np.arange(6, dtype=np.float32).reshape(2, 3), "model.b": np.ones(2, np.float32)}
SECOND = {"model.c": np.full(3, 7, np.float32)}
NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def written(folder, places=None):
    for name, arrays in zip(NAMES, (FIRST, SECOND), strict=True):
        save_file(arrays, folder / name)
    whole = dict.fromkeys(FIRST, NAMES[0]) | dict.fromkeys(SECOND, NAMES[1])
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 44}, "weight_map": whole if places is None else places}))
    return index


def test_all_shards_are_one_checkpoint(tmp_path):
    arrays = read_arrays(written(tmp_path))
    assert sorted(arrays) == ["a", "b", "c"]  # the prefix is that of all names
    np.testing.assert_array_equal(arrays["a"], FIRST["model.a"])
    np.testing.assert_array_equal(arrays["c"], SECOND["model.c"])


def test_shards_of_pytorch(tmp_path):
    names = [name.replace("safetensors", "bin") for name in NAMES]
    for name, arrays in zip(names, (FIRST, SECOND), strict=True):
        archive(tmp_path / name, *saved(arrays))
    index = tmp_path / "model.bin.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(FIRST, names[0]) | dict.fromkeys(SECOND, names[1])}))
    assert sorted(read_arrays(index)) == ["a", "b", "c"]


def test_the_hash_is_of_the_index_and_all_shards(tmp_path):
    index = written(tmp_path)
    before = digest(index)
    assert read_arrays(index, before[:8])
    save_file({"model.c": SECOND["model.c"] + 1}, tmp_path / NAMES[1])
    assert digest(index) != before
    with pytest.raises(ValueError, match=f"index.json: expected sha256 {before}, found"):
        read_arrays(index, before)


@pytest.mark.parametrize("name", NAMES)
def test_one_shard_is_refused(name, tmp_path):
    written(tmp_path)
    advice = r"is one of 2 shards of a network: give their index, model\.safetensors\.index\.json$"
    with pytest.raises(ValueError, match=rf"{name}: {advice}"):
        read_arrays(tmp_path / name)


def test_the_one_shard_of_a_network_is_whole(tmp_path):
    save_file(FIRST, tmp_path / "model-00001-of-00001.safetensors")
    assert sorted(read_arrays(tmp_path / "model-00001-of-00001.safetensors")) == ["a", "b"]


BOTH = dict.fromkeys(FIRST, NAMES[0])
WRONG = {
    "another folder": ({"a": f"../{NAMES[0]}"}, r"names '\.\./model.*', which is no shard beside it"),
    "an absolute path": ({"a": f"/etc/{NAMES[0]}"}, "which is no shard beside it"),
    "another file": ({"a": "passwords"}, "names 'passwords', which is no shard beside it"),
    "a missing shard": ({"a": "model-00003-of-00003.safetensors"}, "names model-00003-of-00003.* not beside it"),
    "a number": ({"a": 3}, "its weight_map must name a file for every array"),
    "a list": ([NAMES[0]], "its weight_map must name a file for every array"),
    "nothing": ({}, "its weight_map must name a file for every array"),
    "an array too many": ({**BOTH, "model.x": NAMES[0]}, "as for model.x, the shard lacks it"),
    "an array too few": ({"model.a": NAMES[0]}, "as for model.b, the shard holds it all the same"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_index_that_is_wrong_is_refused(name, tmp_path):
    places, message = WRONG[name]
    index = written(tmp_path, places)
    with pytest.raises(ValueError, match=message) as refusal:
        read_arrays(index)
    assert str(refusal.value).startswith(f"{index}: ")


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff", b"[" * 10**5, b"{}"])
def test_an_index_that_is_none_is_refused(content, tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(content)
    with pytest.raises(ValueError, match=r"index\.json: is no index of shards"):
        read_arrays(index)


def test_a_damaged_shard_is_named(tmp_path):
    index = written(tmp_path)
    (tmp_path / NAMES[1]).write_bytes((tmp_path / NAMES[1]).read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{NAMES[1]}: is no whole safetensors file"):
        read_arrays(index)


def test_the_card_of_an_index_is_not_the_index(tmp_path):
    assert card_path(tmp_path / "model.safetensors.index.json") == tmp_path / "model.json"
    assert card_path(tmp_path / "model.safetensors") == tmp_path / "model.json"
