"""Chains with functions Model -> Model in them: no part is lost on the way to a gradient, or to the host."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.data import digits
from defenses.files.folders import Folders
from defenses.model import Model, bare, changed, hosted
from defenses.purifiers.method import Site
from defenses.purifiers.table import build, read_defense

NEGATE = "def negate(model):\n    return model._replace(scores=lambda p, k, x: -model.scores(p, k, x))\n"
NETWORK = Model("sums", jnp.arange(1.0, 11.0), lambda w, keys, x: x.sum((1, 2, 3))[:, None] * w, 10)
IMAGES, KEYS = jnp.full((3, 8, 8, 1), 0.3), jax.random.split(jax.random.key(0), 3)


def no_training():
    raise AssertionError("nothing is trained here")


@pytest.fixture
def guard(tmp_path):
    """A chain by its text, in which `negate` stands for a user's function."""
    (tmp_path / "mine.py").write_text(NEGATE)
    site = Site(digits.load, 0, Folders().models, no_training)
    return lambda text: build(read_defense(text.replace("negate", f"{Path(tmp_path) / 'mine.py'}:negate")), site)


def ask(model):
    return np.asarray(model.scores(model.params, KEYS, IMAGES))


@pytest.mark.parametrize("text", ["negate", "negate+gaussian-noise:std=0.001", "mean-filter+negate", "negate+none"])
def test_every_route_keeps_every_part(guard, text):
    model = guard(text)(NETWORK)
    assert (ask(model) < 0).all()
    np.testing.assert_array_equal(ask(changed(model, lambda apply: apply)), ask(model))
    assert bare(model).scores is NETWORK.scores  # blind to all of it


def test_a_function_before_a_host_model_is_asked_and_not_the_model_inside(guard):
    theirs = hosted("theirs", lambda images, request: np.ones((len(images), 10), np.float32), 10, False)
    model = guard("negate")(theirs)
    assert model.host is None
    assert (ask(model) == -1).all()
    assert guard("none")(theirs).host is theirs.host  # alone, it is asked for exactly the rows that wait
