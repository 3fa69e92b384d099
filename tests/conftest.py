"""Trained weights, made once for all tests and all test processes."""

import fcntl
import os

import pytest

from defenses import zoo
from defenses.folders import Folders


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with every network of the digits, trained from seed 0."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "models"
    with (shared / "models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        zoo.purifier_family("digits", 0, Folders(models=folder))
        zoo.classifier("orthogonal", "digits", 0, Folders(models=folder))
    return folder


def pytest_collection_modifyitems(items):
    """The longest file first, so that two workers end together."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
