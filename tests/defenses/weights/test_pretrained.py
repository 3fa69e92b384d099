"""Which weights a network gets: given, published, or trained here; and what is said when there are none."""

import argparse
import json
import os
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from defenses import zoo
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import initial
from defenses.command_line import main
from defenses.data.cifar10 import CLASSES
from defenses.data.dataset import Dataset, Split
from defenses.data.normalization import IMAGENET, NORMALIZATIONS, Normalization
from defenses.evaluation import accuracy
from defenses.files.folders import Folders
from defenses.files.resize import Resize
from defenses.model import defended
from defenses.purifiers.identity import identity
from defenses.weights import file as weights_file
from defenses.weights import pretrained
from defenses.weights.cached import named
from defenses.weights.card import read_card
from defenses.weights.published import Published
from tests.defenses.files.torch_files import archive, dictionary, plain, saved
from tests.paths import ROOT

NAMES = tuple("0123456789")
BLANK = np.zeros((2, 32, 32, 3), np.float32)


@pytest.fixture(scope="module")
def params():
    return initial(ARCHITECTURES["resnet20"], (32, 32, 3), 10, 1)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders, with a data set of two grey images in the place of CIFAR-10."""
    split = Split(BLANK, np.zeros(2, np.int32))
    monkeypatch.setattr(
        pretrained, "load", lambda name, folder, resize: Dataset(name, (32, 32, 3), NAMES, split, split)
    )
    folders = Folders(tmp_path / "models", tmp_path / "data")
    for folder in (folders.models, folders.data / "weights"):
        folder.mkdir(parents=True)
    return folders


def write(path: Path, params) -> Path:
    leaves = jax.tree.leaves_with_path(params)
    save_file({jax.tree_util.keystr(p, simple=True, separator="/"): np.array(leaf) for p, leaf in leaves}, path)
    return path


def scores(classifier):
    return np.asarray(classifier.logits(classifier.params, BLANK))


def test_trained_weights_are_found_and_used(place, params):
    write(place.models / "cifar10-resnet20-seed0-abc.safetensors", params)
    found = zoo.classifier("resnet20", "cifar10", 0, place)
    assert found.origin["file"] == "cifar10-resnet20-seed0-abc.safetensors"
    assert len(found.origin["sha256"]) == 64
    for ours, theirs in zip(jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_given_file_comes_first(place, params, tmp_path):
    write(place.models / "cifar10-resnet20-seed0-abc.safetensors", jax.tree.map(lambda leaf: 0 * leaf, params))
    given = zoo.classifier("resnet20", "cifar10", 0, place, write(tmp_path / "mine.safetensors", params))
    assert given.origin["file"] == "mine.safetensors"
    assert scores(given).any()


def test_published_weights_bring_their_own_normalisation(place, params, monkeypatch):
    path = write(place.data / "weights" / "known.safetensors", params)
    entry = Published("resnet20", "cifar10", path.name, weights_file._digest(path), None, IMAGENET, None)
    monkeypatch.setattr(weights_file, "PUBLISHED", (entry,))
    known = scores(zoo.classifier("resnet20", "cifar10", 0, place))
    renamed = path.rename(path.with_name("renamed.safetensors"))
    assert np.array_equal(scores(zoo.classifier("resnet20", "cifar10", 0, place, renamed)), known)
    monkeypatch.setattr(weights_file, "PUBLISHED", ())
    plain = scores(zoo.classifier("resnet20", "cifar10", 0, place, renamed))
    assert NORMALIZATIONS["cifar10"] != IMAGENET
    assert not np.allclose(plain, known)


def test_an_altered_published_file_is_refused(place, params, monkeypatch):
    path = write(place.data / "weights" / "known.safetensors", params)
    monkeypatch.setattr(
        weights_file, "PUBLISHED", (Published("resnet20", "cifar10", path.name, "0" * 64, None, IMAGENET, None),)
    )
    with pytest.raises(ValueError, match=r"known\.safetensors.*sha256"):
        zoo.classifier("resnet20", "cifar10", 0, place)


def test_two_candidates_ask_for_a_choice(place, params):
    for name in "ab":
        write(place.models / f"cifar10-resnet20-seed0-{name}.safetensors", params)
    with pytest.raises(ValueError, match=r"weights must be one of .*-a\.safetensors, .*-b\.safetensors"):
        zoo.classifier("resnet20", "cifar10", 0, place)


def test_no_weights_name_the_commands(place):
    words = r"no weights of resnet20 .*data fetch resnet20-12fca82f\.th .* or .*train classifier resnet20 --dataset"
    with pytest.raises(ValueError, match=words):
        zoo.classifier("resnet20", "cifar10", 0, place)
    with pytest.raises(ValueError, match=r"weights must be a file that can be read, got .*none\.th"):
        zoo.classifier("resnet20", "cifar10", 0, place, place.data / "none.th")
    with pytest.raises(ValueError, match=r"weights can be given for resnet20, .* not for cnn, which trains itself"):
        zoo.classifier("cnn", "digits", 0, place, place.data / "none.th")


def test_only_regular_files_are_read(place, tmp_path):
    """A FIFO without a writer would block the reader, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "fifo")
    for path in (Path("/dev/zero"), tmp_path / "fifo", tmp_path, tmp_path / "none.th"):
        with pytest.raises(ValueError, match=f"^weights must be a file that can be read, got {path} .no regular file"):
            zoo.classifier("resnet20", "cifar10", 0, place, path)


def test_a_link_to_a_file_is_read(place, params, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(write(tmp_path / "mine.safetensors", params))
    assert zoo.classifier("resnet20", "cifar10", 0, place, link).origin["file"] == "link.safetensors"


def carded(place, params, **card) -> Path:
    path = write(place.models / "cifar10-resnet20-seed0-abc.safetensors", params)
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_a_card_brings_its_normalisation_and_resizing(place, params):
    path = carded(place, params)
    plain = zoo.classifier("resnet20", "cifar10", 0, place)
    front = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    for card in ({"normalization": front}, {"measured": {"normalization": front}}):
        path.with_suffix(".json").write_text(json.dumps(card))
        found = zoo.classifier("resnet20", "cifar10", 0, place)
        assert "0.5, 0.5, 0.5" in found.origin["normalization"]
        assert not np.allclose(scores(found), scores(plain))
    path.with_suffix(".json").write_text(json.dumps({"resize": {"size": 40, "crop": 32, "interpolation": "bicubic"}}))
    file = weights_file.weights_file("resnet20", "cifar10", 0, place, None)
    assert (file.resize, file.origin["resize"]) == (
        Resize(40, 32, "bicubic"),
        "size 40, crop 32, interpolation bicubic",
    )


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"sha256": "0" * 64}, r"abc\.safetensors is altered: expected the sha256 0{64}, got [0-9a-f]{64}"),
        ({"model": "resnet56"}, r"must be weights of model resnet20, its card says 'resnet56'"),
        ({"dataset": "mnist"}, r"must be weights of dataset cifar10, its card says 'mnist'"),
        ({"normalization": {"mean": [0.5], "std": [0.5]}}, r"abc\.json must be as .* needs 3 means"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, r"std > 0"),
        ({"normalization": 3}, r"abc\.json must be as"),
        ({"resize": {"side": 3}}, r"abc\.json must be as defenses/weights/README.md says"),
        ([1], r"abc\.json must be the card of .*abc\.safetensors, as JSON: it is no JSON object"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(place, params, card, words):
    path = carded(place, params)
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=words):
        zoo.classifier("resnet20", "cifar10", 0, place)


def test_scores_that_are_not_finite_are_no_accuracy(place, params):
    write(place.models / "cifar10-resnet20-seed0-abc.safetensors", jax.tree.map(lambda leaf: 1e30 * leaf, params))
    classifier = zoo.classifier("resnet20", "cifar10", 0, place)
    with pytest.raises(ValueError, match=r"resnet20 must give finite scores, not so for images 0\.\.1"):
        accuracy(defended(classifier, identity()), Split(BLANK + 0.5, np.zeros(2, np.int32)), 0)


def test_networks_that_cannot_be_trained_here_are_not_advised_to_be(place):
    with pytest.raises(ValueError, match=r"no weights of vit-base-16") as caught:
        weights_file.weights_file("vit-base-16", "imagenet", 0, place, None)
    assert "data fetch vit_b_16-c867db91.pth" in str(caught.value)
    assert "train classifier" not in str(caught.value)


def test_a_card_says_the_order_of_the_classes(place, params):
    path = carded(place, params)
    plain = scores(zoo.classifier("resnet20", "cifar10", 0, place))
    order = np.random.default_rng(0).permutation(10)
    path.with_suffix(".json").write_text(json.dumps({"labels": [NAMES[place] for place in order]}))
    found = zoo.classifier("resnet20", "cifar10", 0, place)
    np.testing.assert_array_equal(scores(found)[:, order], plain)
    assert not np.allclose(scores(found), plain)
    assert found.origin["labels"] == ", ".join(NAMES[place] for place in order)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (list(NAMES[:9]), r"abc\.json: labels must be 0, 1, .* in any order, got 9 names"),
        ([*NAMES[:9], "ten"], r"abc\.json: labels must be 0, 1, .* in any order, got ten"),
        ([*NAMES, "0"], "labels must be a list of the names of classes, each once"),
        (list(range(10)), "labels must be a list of the names of classes, each once"),
        ("0123456789", "labels must be a list of the names of classes, each once"),
    ],
)
def test_labels_that_are_not_those_of_the_data_are_refused(place, params, labels, words):
    carded(place, params, labels=labels)
    with pytest.raises(ValueError, match=words):
        zoo.classifier("resnet20", "cifar10", 0, place)


MEAN, STD = np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.25, 0.3], np.float32)


def wrapped(place, params, mean=MEAN, std=STD, **card) -> Path:
    """Weights that hold a normalisation of their own, as RobustBench's do."""
    path = carded(place, params, **card)
    buffers = {"mu": mean.reshape(-1, 1, 1)[None], "sigma": std.reshape(-1, 1, 1)[None]}
    save_file({name: np.asarray(leaf) for name, leaf in named(params).items()} | buffers, path)
    return path


def test_a_normalisation_in_the_file_is_used(place, params):
    said = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    carded(place, params, normalization=said)
    expected = zoo.classifier("resnet20", "cifar10", 0, place)
    path = wrapped(place, params)
    for card in ({}, {"normalization": said}, {"normalization": {"mean": MEAN.tolist(), "std": STD.tolist()}}):
        path.with_suffix(".json").write_text(json.dumps(card))
        found = zoo.classifier("resnet20", "cifar10", 0, place)
        np.testing.assert_array_equal(scores(found), scores(expected))
        assert found.origin["normalization"] == expected.origin["normalization"]


def test_one_number_normalises_all_channels(place, params):
    wrapped(place, params, np.array([0.5], np.float32), np.array([0.25], np.float32))
    file = weights_file.weights_file("resnet20", "cifar10", 0, place, None)
    assert file.normalization == Normalization((0.5,) * 3, (0.25,) * 3)


def test_a_card_that_contradicts_the_file_is_refused(place, params):
    wrapped(place, params, normalization={"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.31]})
    with pytest.raises(
        ValueError, match=r"abc\.json says mean .*0\.31\), the weights themselves hold mean .*: take it"
    ):
        zoo.classifier("resnet20", "cifar10", 0, place)


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        (MEAN[:2], STD, r"needs 1 or 3 numbers in mu, got shape \(1, 2, 1, 1\)"),
        (MEAN, STD * 0, "needs 3 means and as many std > 0, all finite"),
        (MEAN, -STD, "needs 3 means and as many std > 0, all finite"),
        (MEAN, STD * np.nan, "needs 3 means and as many std > 0, all finite"),
    ],
)
def test_a_normalisation_in_the_file_that_is_none_is_refused(place, params, mean, std, words):
    wrapped(place, params, mean, std)
    with pytest.raises(ValueError, match=rf"abc\.safetensors: .*{words}"):
        zoo.classifier("resnet20", "cifar10", 0, place)


def two_sets(place, params) -> Path:
    """A training run with raw weights, and averaged ones that are half of them."""
    sets = [{name: factor * np.asarray(leaf) for name, leaf in named(params).items()} for factor in (1, 0.5)]
    (raw, storages), (averaged, more) = saved(sets[0]), saved(sets[1], first=len(sets[0]))
    args = plain(argparse.Namespace(lr=0.1))
    run = dictionary(args=args, state_dict=raw, state_dict_ema=averaged, metric=plain(np.float64(0.9)))
    return archive(place.data / "run.pth", run, storages | more)


def test_the_set_of_weights_is_told_and_chosen(place, params, capsys):
    path = two_sets(place, params)
    raw = zoo.classifier("resnet20", "cifar10", 0, place, path)
    assert capsys.readouterr().err == (
        "weights: state_dict of run.pth; --weights-key chooses one of state_dict_ema instead\n"
    )
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
    assert capsys.readouterr().err == ""


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
    assert printed.err == "weights: state_dict_ema of run.pth; --weights-key chooses one of state_dict instead\n"
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


def test_the_card_that_is_documented_is_one_that_is_read(tmp_path):
    documented = re.findall(r"```json\n(.*?)```", (ROOT / "defenses" / "weights" / "README.md").read_text(), re.S)
    (tmp_path / "net.json").write_text(documented[0])
    card = read_card(tmp_path / "net.pth", 3)
    assert None not in card
    assert "" not in card
    assert card.resize == Resize(256, 224, "bicubic")
    assert card.labels is not None
    assert sorted(card.labels) == list(CLASSES)
