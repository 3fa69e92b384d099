"""Models trained once for all tests of the defences."""

import jax
import pytest

from defenses import zoo
from defenses.data import digits
from defenses.files.folders import Folders


@pytest.fixture(scope="session")
def cache(models):
    return models


@pytest.fixture(scope="session")
def folders(cache):
    return Folders(models=cache)


@pytest.fixture(scope="session")
def cnn(folders):
    return zoo.classifier("cnn", folders=folders)


@pytest.fixture(scope="session")
def purifiers(cnn, folders):
    return zoo.purifier_family(folders=folders)


@pytest.fixture(scope="session")
def held_out():
    return digits.load().test


@pytest.fixture(scope="session")
def row_keys():
    """One key per row, for 64 rows."""
    return jax.random.split(jax.random.key(7), 64)
