"""The local implicit purifier against its own definition, written out with plain loops and products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.purifiers.implicit.extras import NONE, Extras
from defenses.purifiers.implicit.network import SIZES, Size, initial, parameters, purifier, template

SIZE = Size(2, 5, (7, 6))
IMAGES = np.random.default_rng(0).random((2, 6, 5, 3)).astype(np.float32)


def drawn(size=SIZE, extras=NONE, seed=0):
    """Params with no zeros among them."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / 3, jnp.float32), template(size, 3, extras)
    )


def convolved(layer, features):
    """A 3×3 convolution with zeros beyond the border, as nine matrix products."""
    _, height, width, _ = features.shape
    padded = np.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = np.asarray(layer["kernel"], np.float64)
    shifted = ((padded[:, a : a + height, b : b + width], kernel[a, b]) for a in range(3) for b in range(3))
    return sum(window @ weights for window, weights in shifted) + np.asarray(layer["bias"])


def by_hand(params, images):
    features = first = convolved(params["encoder"]["head"], 2 * images.astype(np.float64) - 1)
    for block in params["encoder"]["blocks"].values():
        features = features + convolved(block["conv2"], np.maximum(convolved(block["conv1"], features), 0))
    features = first + convolved(params["encoder"]["tail"], features)
    hidden = convolved(params["decoder"]["unfolded"], features)  # 3×3 unfolding and a dense layer
    for layer in (*params["decoder"]["layers"].values(), params["decoder"]["colour"]):
        hidden = np.maximum(hidden, 0) @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"])
    return images + hidden


def test_it_is_what_its_definition_says():
    params = drawn()
    found = purifier(SIZE, 3)(params, jnp.asarray(IMAGES))
    np.testing.assert_allclose(found, by_hand(params, IMAGES), rtol=1e-5, atol=1e-5)


def test_a_changed_weight_is_noticed():
    params = drawn()
    params["decoder"]["colour"]["bias"] += 1e-3
    assert not np.allclose(
        purifier(SIZE, 3)(drawn(), jnp.asarray(IMAGES)), by_hand(params, IMAGES), rtol=1e-5, atol=1e-5
    )


def test_untrained_it_leaves_images_as_they_are():
    np.testing.assert_array_equal(purifier(SIZE, 3)(initial(SIZE, 3, 0), jnp.asarray(IMAGES)), IMAGES)


@pytest.mark.parametrize(
    ("extras", "same"),
    [
        (Extras(coordinates=True), slice(None)),
        (Extras(frequencies=3), slice(None)),
        (Extras(cell=True), slice(None)),
        (Extras(ensemble=True), slice(-1)),
        (Extras(True, 3, True, True), slice(-1)),
    ],
    ids=["coordinates", "encoding", "cell", "ensemble", "all"],
)
def test_what_puridefense_leaves_out_does_nothing_at_the_pixels_themselves(extras, same):
    """Constants are one more bias; an ensemble changes the last row and column, whose neighbours coincide."""
    rich = drawn(extras=extras)
    plain = jax.tree.map(jnp.copy, rich)
    known = plain["decoder"].pop("known", None)
    if known is not None:
        bias = known["bias"] + _told(extras) @ known["kernel"]
        plain["decoder"]["unfolded"]["bias"] += bias
    with_them, without = (
        np.asarray(purifier(SIZE, 3, e)(p, jnp.asarray(IMAGES))) for e, p in ((extras, rich), (NONE, plain))
    )
    np.testing.assert_allclose(with_them[:, same, same], without[:, same, same], rtol=0, atol=1e-5)
    if extras.ensemble:
        assert np.abs(with_them - without)[:, -1, :-1].max() > 1e-3
        np.testing.assert_allclose(with_them[:, -1, -1], without[:, -1, -1], rtol=0, atol=1e-5)  # its own neighbour


def _told(extras):
    """Coordinates zero, of which every sine is 0 and every cosine 1, and a cell two units wide."""
    waves = [0.0, 1.0] * 2 * extras.frequencies
    return jnp.array([0.0, 0.0] * extras.coordinates + waves + [2.0, 2.0] * extras.cell, jnp.float32)


def test_the_sizes_are_those_that_are_asked_for():
    """In numbers of parameters: light at most 60 k, small 250 k, full 1.2 M and 0.35 M."""
    assert all(parameters(SIZES[name], 3) <= 60_000 for name in ("light", "light-wide", "light-deep"))
    assert parameters(SIZES["small"], 3) <= 250_000
    full = template(SIZES["full"], 3)
    encoder, decoder = (sum(leaf.size for leaf in jax.tree.leaves(full[part])) for part in ("encoder", "decoder"))
    assert encoder == 3 * 64 * 9 + 64 + 33 * (64 * 64 * 9 + 64)
    assert decoder == 576 * 256 + 256 + 3 * (256 * 256 + 256) + 256 * 3 + 3
