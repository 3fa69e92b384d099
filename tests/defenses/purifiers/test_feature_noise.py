"""Noise on features: where it is added, how strong it is, and what refuses it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import initial, network_classifier
from defenses.data.normalization import NORMALIZATIONS
from defenses.model import defended, mean_of, undefended
from defenses.purifiers.feature_noise import FeatureNoise, feature_noise
from defenses.purifiers.transforms.gaussian_noise import gaussian_noise

ROWS = 4000
SHAPE = (32, 32, 3)
LAYERS = ("conv1", "bn1", *(f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 1, 2)), "linear")


@pytest.fixture(scope="module")
def network():
    """A ResNet-20 with random weights."""
    architecture = ARCHITECTURES["resnet20"]
    params = initial(architecture, SHAPE, 10, 0)
    return undefended(network_classifier("resnet20", architecture, params, SHAPE, 10, NORMALIZATIONS["cifar10"]))


def answers(model, image, rows):
    keys = jax.random.split(jax.random.key(1), rows)
    return np.asarray(jax.jit(model.scores)(model.params, keys, jnp.broadcast_to(image, (rows, *SHAPE))), np.float64)


IMAGE = jnp.asarray(np.random.default_rng(0).random(SHAPE), jnp.float32)


def test_the_layers_of_a_network_in_the_order_in_which_an_image_meets_them(network):
    assert network.inside.names == LAYERS


@pytest.mark.parametrize("layer", ["conv1", "layer2.1", "linear"])
def test_no_noise_changes_nothing(network, layer):
    model = feature_noise(FeatureNoise(0.0, layer))(network)
    np.testing.assert_allclose(answers(model, IMAGE, 2), answers(network, IMAGE, 2), rtol=1e-6)


def test_noise_behind_the_last_layer_has_its_own_variance(network):
    found = answers(feature_noise(FeatureNoise(0.3, "linear"))(network), IMAGE, ROWS)
    clean = answers(network, IMAGE, 1)
    assert abs((found - clean).std() / 0.3 - 1) < 4 / np.sqrt(2 * found.size)
    assert abs((found - clean).mean()) < 4 * 0.3 / np.sqrt(found.size)


def test_noise_before_the_last_layer_meets_its_average_and_its_weights(network):
    """By default it stands behind the last of the blocks, before 64 pixels are averaged: V_j = σ²‖w_j‖²/64."""
    found = answers(feature_noise(FeatureNoise(0.3))(network), IMAGE, ROWS)
    weights = np.asarray(network.params["linear"]["kernel"], np.float64)
    expected = 0.3**2 * (weights**2).sum(axis=0) / 64
    assert (np.abs(found.var(axis=0, ddof=1) / expected - 1) < 4 * np.sqrt(2 / ROWS)).all()


@pytest.mark.parametrize(
    "before", [partial(defended, defense=gaussian_noise(0.1)), partial(mean_of, runs=2), feature_noise(FeatureNoise())]
)
def test_it_stands_directly_in_front_of_a_network(network, before):
    with pytest.raises(ValueError, match=r"feature-noise must stand last"):
        feature_noise(FeatureNoise())(before(network))


def test_an_unknown_layer_is_refused_before_anything_runs(network):
    with pytest.raises(ValueError, match=r"layer must be one of conv1, bn1, layer1\.0, .*, got 'layer9'"):
        feature_noise(FeatureNoise(layer="layer9"))(network)
