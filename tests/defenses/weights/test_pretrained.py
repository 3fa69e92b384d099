"""Which weights a network gets: given, published, or trained here; and what is said when there are none."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from defenses import zoo
from defenses.data.dataset import Split
from defenses.data.normalization import IMAGENET, NORMALIZATIONS
from defenses.evaluation import accuracy
from defenses.model import defended
from defenses.purifiers.transforms.identity import identity
from defenses.weights import file as weights_file
from defenses.weights.published import Published
from tests.defenses.weights.resnet_files import BLANK, scores, write


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
