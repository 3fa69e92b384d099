"""Weights in half precision, with a card that says so, and where they are found."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from defenses import zoo
from defenses.weights import shipped
from tests.defenses.weights.resnet_files import NAMES, carded, scores  # noqa: F401


@pytest.fixture
def halved(place, params, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "files")
    shipped.FOLDER.mkdir()
    whole = carded(place, params, model="resnet20", dataset="cifar10", sha256="")
    card = json.loads(whole.with_suffix(".json").read_text())
    whole.with_suffix(".json").write_text(json.dumps(card | {"sha256": hashlib.sha256(whole.read_bytes()).hexdigest()}))
    target = shipped.FOLDER / "cifar10-resnet20.safetensors"
    shipped.halved(whole, target)
    return whole, target


def test_arrays_are_rounded_and_the_card_says_from_what(halved):
    whole, target = halved
    for name, array in load_file(target).items():
        assert array.dtype == np.float16
        np.testing.assert_array_equal(array, load_file(whole)[name].astype(np.float16))
    before, card = (json.loads(path.with_suffix(".json").read_text()) for path in (whole, target))
    assert card["rounded"] == {"to": "float16", "from_sha256": before["sha256"]}
    assert card["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()


def test_a_shipped_file_is_found_before_one_trained_here(halved, place):
    found = zoo.classifier("resnet20", "cifar10", 0, place)
    assert found.origin["file"] == halved[1].name
    assert shipped.shipped("resnet20", "digits") is None


def test_a_shipped_file_of_something_else_is_refused(halved, place):
    card = json.loads(halved[1].with_suffix(".json").read_text())
    halved[1].with_suffix(".json").write_text(json.dumps(card | {"dataset": "digits"}))
    with pytest.raises(ValueError, match="must be weights of dataset cifar10, its card says 'digits'"):
        zoo.classifier("resnet20", "cifar10", 0, place)
