"""Fresh draws of victims that give no answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.classifier import Classifier
from defenses.model import undefended
from sims.measurements.fresh_draws import times_fooled
from sims.victims.host import HostOracle, plain_victim
from sims.victims.oracle import oracle_of
from tests.sims.small_victims import SHAPE, images

CLASSES, IMAGES = 4, images(8)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_answer_at_all_is_no_success(bad, targeted):
    spoilt = np.zeros((8, CLASSES))
    spoilt[:4, [0, 1]] = bad
    spoilt[4:, 1] = 1
    labels = np.tile([0, 1], 4)
    oracle = HostOracle("spoilt", "label", plain_victim(lambda rows: spoilt), CLASSES, targeted)
    expected = [0] * 4 + ([0, 3, 0, 3] if targeted else [3, 0, 3, 0])
    assert times_fooled(jax.random.key(0), oracle, IMAGES, labels, 3, 8).tolist() == expected
    jitted = Classifier("spoilt", jnp.asarray(spoilt, jnp.float32), lambda p, x: p[: len(x)], SHAPE, CLASSES, True)
    for feedback in ("loss", "scores", "label"):
        oracle = oracle_of(undefended(jitted), feedback, targeted=targeted)
        assert times_fooled(jax.random.key(0), oracle, IMAGES, labels, 3, 8).tolist() == expected
