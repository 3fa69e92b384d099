"""Models trained once for all tests of the defences."""

import jax
import pytest

from defenses import zoo
from defenses.data import digits


@pytest.fixture(scope="session")
def cache(models):
    return models


@pytest.fixture(scope="session")
def cnn(cache):
    return zoo.classifier("cnn", cache=cache)


@pytest.fixture(scope="session")
def purifiers(cnn, cache):
    return zoo.purifier_family(cache=cache)


@pytest.fixture(scope="session")
def held_out():
    return digits.load().test


@pytest.fixture(scope="session")
def row_keys():
    """One key per row, for 64 rows."""
    return jax.random.split(jax.random.key(7), 64)
