"""Random weights, and the folders where they are looked for."""

import numpy as np
import pytest

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import initial
from defenses.data.dataset import Dataset, Split
from defenses.files.folders import Folders
from defenses.weights import pretrained
from tests.defenses.weights.resnet_files import BLANK, NAMES


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
