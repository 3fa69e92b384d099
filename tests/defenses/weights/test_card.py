"""What stands before a network and in which order its scores are: as its file, its card or its data set says."""

import json
import re

import numpy as np
import pytest

from defenses import zoo
from defenses.data.cifar10 import CLASSES
from defenses.data.normalization import Normalization
from defenses.files.resize import Resize
from defenses.weights import file as weights_file
from defenses.weights.card import read_card
from tests.defenses.weights.resnet_files import MEAN, NAMES, STD, carded, scores, wrapped
from tests.paths import ROOT


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
        ({"sha256": "0" * 64}, r"abc\.safetensors: expected sha256 0{64}, found [0-9a-f]{64}"),
        ({"model": "resnet56"}, r"must be weights of model resnet20, its card says 'resnet56'"),
        ({"dataset": "mnist"}, r"must be weights of dataset cifar10, its card says 'mnist'"),
        ({"normalization": {"mean": [0.5], "std": [0.5]}}, r"abc\.json must be as .* needs 3 means"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, r"std > 0"),
        ({"normalization": 3}, r"abc\.json must be as"),
        ({"normalization": {"mean": "123", "std": "111"}}, r"mean and std must be lists of numbers"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 1, True]}}, r"mean and std must be lists of numbers"),
        ({"resize": {"size": 40.5, "crop": 32}}, r"size and crop of resize must be whole numbers"),
        ({"resize": {"side": 3}}, r"abc\.json must be as defenses/weights/README.md says"),
        ([1], r"abc\.json must be the card of .*abc\.safetensors, as JSON: it is no JSON object"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(place, params, card, words):
    path = carded(place, params)
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=words):
        zoo.classifier("resnet20", "cifar10", 0, place)


def test_a_hash_may_be_in_capitals(place, params):
    path = carded(place, params)
    sha256 = zoo.classifier("resnet20", "cifar10", 0, place).origin["sha256"]
    path.with_suffix(".json").write_text(json.dumps({"sha256": sha256.upper()}))
    assert zoo.classifier("resnet20", "cifar10", 0, place).origin["sha256"] == sha256


def test_a_normalization_that_nobody_states_is_said(place, params, capsys):
    path = carded(place, params, normalization={"mean": [0, 0, 0], "std": [1, 1, 1]})
    zoo.classifier("resnet20", "cifar10", 0, place)
    assert capsys.readouterr().err == ""
    path.with_suffix(".json").write_text("{}")
    zoo.classifier("resnet20", "cifar10", 0, place)
    name = path.with_suffix("").name
    told = f"normalization: {path.name} states none, that of cifar10 is taken; {name}.json beside it changes that\n"
    assert capsys.readouterr().err == told


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


def test_the_card_that_is_documented_is_one_that_is_read(tmp_path):
    documented = re.findall(r"```json\n(.*?)```", (ROOT / "defenses" / "weights" / "README.md").read_text(), re.S)
    (tmp_path / "net.json").write_text(documented[0])
    card = read_card(tmp_path / "net.pth", 3)
    assert None not in card
    assert "" not in card
    assert card.resize == Resize(256, 224, "bicubic")
    assert card.labels is not None
    assert sorted(card.labels) == list(CLASSES)
