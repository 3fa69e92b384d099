"""Convolutions rewritten to channels last: the same values, and nothing else left for XLA to loop over."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import initial, network_classifier
from defenses.data.normalization import NORMALIZATIONS
from sims.white_box.channels_last import channels_last

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 8, 8)), jnp.float32)
K = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3, 3, 3)), jnp.float32)
CANONICAL = "b01f_01io->b01f"


def strided(x, kernel):
    """NCHW and OIHW, as PyTorch has them."""
    return jnp.sin(lax.conv_general_dilated(x, kernel, (2, 2), "SAME"))


def depthwise(x, kernel):
    grouped = lax.conv_general_dilated(x, kernel[:3, :1], (1, 1), "SAME", feature_group_count=3)
    return jnp.tanh(grouped).sum()


def checkpointed(x, kernel):
    return jax.checkpoint(strided)(x, kernel).sum() ** 2


def looped(x, kernel):
    def step(x, _):
        return lax.conv_transpose(x, kernel[:3, :3], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")), None

    return lax.scan(step, x, None, length=2)[0]


def branched(x, kernel):
    return lax.cond(x.sum() > 0, strided, lambda x, kernel: 2 * strided(x, kernel), x, kernel)


FUNCTIONS = {f.__name__: f for f in (strided, depthwise, checkpointed, looped, branched)}
GRADIENTS = {f"{name}-gradient": jax.grad(lambda x, k, f=f: f(x, k).sum()) for name, f in FUNCTIONS.items()}


def layouts(function, *arguments) -> set[str]:
    """The axes of every convolution of the program that XLA is given."""
    text = jax.jit(function).lower(*arguments).as_text(dialect="hlo")
    return set(re.findall(r"dim_labels=(\S+?)[,\s]", text))


@pytest.mark.parametrize(("name", "function"), [*FUNCTIONS.items(), *GRADIENTS.items()])
def test_values_stay_and_axes_are_canonical(name, function):
    rewritten = channels_last(function)
    np.testing.assert_allclose(rewritten(X, K), function(X, K), rtol=1e-5, atol=1e-5)
    assert layouts(function, X, K) - {CANONICAL}
    assert layouts(rewritten, X, K) == {CANONICAL}


@pytest.mark.slow
def test_a_network_and_its_gradient():
    architecture, shape = ARCHITECTURES["resnet20"], (16, 16, 3)
    params = initial(architecture, shape, 10, 0)
    network = network_classifier("resnet20", architecture, params, shape, 10, NORMALIZATIONS["cifar10"])

    def gradient(params, images):
        return jax.grad(lambda images: network.logits(params, images)[:, 3].sum())(images)

    images = jnp.asarray(np.random.default_rng(2).uniform(size=(4, *shape)), jnp.float32)
    got, expected = channels_last(gradient)(params, images), gradient(params, images)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * float(jnp.abs(expected).max()))
    assert layouts(channels_last(gradient), params, images) == {CANONICAL}
