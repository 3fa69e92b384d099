"""Files with several sets of weights, in several parts, or without a network: what is chosen, and what is refused."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from defenses import zoo
from defenses.command_line import main
from defenses.data.normalization import IMAGENET
from defenses.weights.cached import named
from tests.defenses.files.torch_files import archive, dictionary, saved
from tests.defenses.weights.resnet_files import MEAN, NAMES, two_sets, write


def test_the_set_of_weights_is_told_and_chosen(place, params, capsys):
    path = two_sets(place, params)
    raw = zoo.classifier("resnet20", "cifar10", 0, place, path)
    assert capsys.readouterr().err.splitlines() == [
        "weights: state_dict of run.pth; --weights-key chooses one of state_dict_ema instead",
        "normalization: run.pth states none, that of cifar10 is taken; run.json beside it changes that",
    ]
    averaged = zoo.classifier("resnet20", "cifar10", 0, place, path, "state_dict_ema")
    assert "weights: state_dict_ema of run.pth; " in capsys.readouterr().err
    for found, factor in ((raw, 1), (averaged, 0.5)):
        for ours, theirs in zip(jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True):
            np.testing.assert_array_equal(ours, factor * theirs)
    assert (raw.origin["key"], averaged.origin["key"]) == ("state_dict", "state_dict_ema")
    assert raw.origin["sha256"] == averaged.origin["sha256"]
    with pytest.raises(ValueError, match=r"run\.pth: weights_key must be one of state_dict, state_dict_ema, got 'ema'"):
        zoo.classifier("resnet20", "cifar10", 0, place, path, "ema")


def test_one_set_of_weights_is_no_choice(place, params, tmp_path, capsys):
    path = write(tmp_path / "mine.safetensors", params)
    assert "key" not in zoo.classifier("resnet20", "cifar10", 0, place, path, ".").origin
    assert "weights-key" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cnn", "resnet20"])
def test_a_key_without_a_file_is_refused(place, name):
    with pytest.raises(ValueError, match=r"^weights_key is of a file that weights names, got 'ema' without one$"):
        zoo.classifier(name, "cifar10", 0, place, None, "ema")


@pytest.mark.parametrize("name", ["lora_A.weight", "lora_B.default.weight", "lora_up.weight"])
def test_an_adapter_is_refused(place, name, tmp_path):
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"base_model.model.vit.layers.0.attention.q_proj.{name}": MEAN, "classifier.weight": MEAN}, path)
    with pytest.raises(
        ValueError, match=r"adapter_model\.safetensors: holds a LoRA adapter \(base_model.*not a network"
    ):
        zoo.classifier("resnet20", "cifar10", 0, place, path)


def test_shards_with_their_card(place, params, tmp_path):
    arrays = list(named(params).items())
    places = {}
    for number, part in enumerate((arrays[:9], arrays[9:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: np.asarray(leaf) for name, leaf in part}, tmp_path / file)
        places |= dict.fromkeys((name for name, _ in part), file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (tmp_path / "model.json").write_text(json.dumps({"normalization": IMAGENET._asdict()}))
    found = zoo.classifier("resnet20", "cifar10", 0, place, index)
    for ours, theirs in zip(jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "0.485" in found.origin["normalization"]
    before = found.origin["sha256"]
    save_file({name: np.asarray(leaf) + 1 for name, leaf in arrays[9:]}, tmp_path / "model-00002-of-00002.safetensors")
    assert zoo.classifier("resnet20", "cifar10", 0, place, index).origin["sha256"] != before
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"index\.json: names model-00002-of-00002\.safetensors, which is not beside it"
    ):
        zoo.classifier("resnet20", "cifar10", 0, place, index)


def pictures(folder: Path) -> Path:
    """A data set of one picture in each of ten class folders."""
    for number, pixels in enumerate(np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3), np.uint8)):
        (folder / NAMES[number]).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / NAMES[number] / "a.png")
    return folder


def test_the_command_line_takes_the_key_and_refuses_in_one_line(place, params, tmp_path, capsys):
    path, data = two_sets(place, params), pictures(tmp_path / "pictures")
    base = ["evaluate", "resnet20", "--dataset", str(data), "--weights", str(path), "--json"]
    assert main([*base, "--weights-key", "state_dict_ema"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["weights"]["key"] == "state_dict_ema"
    assert printed.err.startswith(
        "weights: state_dict_ema of run.pth; --weights-key chooses one of state_dict instead\n"
    )
    assert main([*base, "--weights-key", "ema"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {path}: weights_key must be one of state_dict, state_dict_ema, got 'ema'\n"
    assert main(["evaluate", "cnn", "--weights-key", "ema"]) == 2
    assert capsys.readouterr().err == "error: weights_key is of a file that weights names, got 'ema' without one\n"


def adapter(folder):
    save_file({"base.layer.lora_A.weight": MEAN}, path := folder / "adapter_model.safetensors")
    return path, "holds a LoRA adapter (base.layer.lora_A.weight), not a network: merge it into the network that it "


def shard(folder):
    save_file({"a": MEAN}, path := folder / "model-00001-of-00003.safetensors")
    return path, "is one of 3 shards of a network: give their index, model.safetensors.index.json"


def index(folder):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00003.safetensors"}}))
    return path, "names model-00001-of-00003.safetensors, which is not beside it"


def unknown_sets(folder):
    content, storages = saved({"a": MEAN[None]})
    path = archive(folder / "gan.pth", dictionary(generator=content, critic=content), storages)
    words = (
        "holds no dictionary of tensors by name at its top or under a key that is known; --weights-key chooses one of "
    )
    return path, f"{words}generator, critic"


def other_names(folder):
    save_file({"network.conv1.weight": MEAN}, path := folder / "a.safetensors")
    return path, "its arrays are not those of the network; by own names: network.conv1.weight is unknown; by "


@pytest.mark.parametrize("file", [adapter, shard, index, unknown_sets, other_names])
def test_what_is_no_network_is_refused_in_one_line(file, tmp_path, capsys):
    (tmp_path / "weights").mkdir()
    path, words = file(tmp_path / "weights")
    data = pictures(tmp_path / "pictures")
    assert main(["evaluate", "resnet20", "--dataset", str(data), "--weights", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {path}: {words}")
    assert (printed.out, printed.err.count("\n")) == ("", 1)
