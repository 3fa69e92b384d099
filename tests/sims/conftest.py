"""A results folder for the tests that run experiments."""

import pytest


@pytest.fixture(scope="session")
def results(tmp_path_factory, models):
    """A results folder whose models are trained already."""
    out = tmp_path_factory.mktemp("results")
    (out / "models").symlink_to(models)
    return out
