import time
from dataclasses import replace

import numpy as np
import pytest
from flax import nnx

from defenses.classifiers.architecture import Architecture
from defenses.classifiers.learning import learning
from defenses.classifiers.network import Network
from defenses.data import digits
from defenses.data.dataset import training_images
from defenses.data.normalization import NORMALIZATIONS
from defenses.training import cost as cost_module
from defenses.training.adversarial import adversary
from defenses.training.cost import cost
from defenses.training.recipe import Recipe
from tests.defenses.classifiers.tiny_network import SHAPE, UNIFORM

HIDDEN = 500
RECIPE = Recipe(3, 64, 0.1, 1e-4, "cosine")


class Dense(nnx.Module):
    def __init__(self, image_shape, num_classes, rngs):
        pixels = image_shape[0] * image_shape[1]
        self.hidden = nnx.Linear(pixels, HIDDEN, kernel_init=UNIFORM, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, num_classes, kernel_init=UNIFORM, rngs=rngs)

    def __call__(self, images):
        return self.head(nnx.relu(self.hidden(images.reshape(len(images), -1))))


DENSE = Network("dense", Architecture(Dense, {}, smooth=True), SHAPE, 10, NORMALIZATIONS["digits"])


@pytest.fixture(autouse=True)
def _timed_for_a_moment(monkeypatch):
    monkeypatch.setattr(cost_module, "LONG_ENOUGH", 0.05)


def test_cost_of_a_network_counted_by_hand():
    """A step of the adversary goes back through both layers to the pixels, the update to both layers' weights."""
    first, second = 2 * 64 * HIDDEN, 2 * HIDDEN * 10
    passes = 10 * 2 * (first + second) + 2 * first + 3 * second
    data = digits.load()
    known = cost(learning(DENSE, replace(RECIPE, adversary=adversary(8)), data, 0))
    assert known.steps == 3 * 18
    assert known.operations == pytest.approx(3 * 18 * 64 * passes, rel=0.05)
    assert known.seconds == pytest.approx(known.steps * known.seconds_per_step)
    state = 2 * 4 * (64 * HIDDEN + HIDDEN * 10)
    assert known.memory > np.asarray(training_images(data).images).nbytes + 2 * state


class Slow:
    """A function that takes a twentieth of a second longer."""

    def __init__(self, function):
        self.function, self.lower = function, function.lower

    def __call__(self, *arguments):
        time.sleep(0.05)
        return self.function(*arguments)


def test_cost_times_every_step_of_the_adversary():
    training = learning(DENSE, replace(RECIPE, adversary=adversary(8, 4)), digits.load(), 0)
    assert training.ascent
    slowed = training._replace(ascent=training.ascent._replace(climb=Slow(training.ascent.climb)))
    assert cost(slowed).seconds_per_step > 4 * 0.05
