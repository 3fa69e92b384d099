"""One small results folder with trained weights, shared by the tests that need a network."""

import pytest

from defenses import zoo


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A results folder whose models are trained already."""
    out = tmp_path_factory.mktemp("results")
    zoo.purifier_family("digits", 0, out / "models")
    zoo.classifier("orthogonal", "digits", 0, out / "models")
    return out
