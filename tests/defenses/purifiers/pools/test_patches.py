"""Patches against plain slices."""

import jax.numpy as jnp
import numpy as np
import pytest

from defenses.purifiers.pools.patches import cut, put_together

IMAGES = jnp.asarray(np.random.default_rng(0).random((3, 8, 12, 2)), jnp.float32)


@pytest.mark.parametrize("context", [0, 1, 3])
def test_a_patch_is_a_slice_with_zeros_beyond_the_image(context):
    padded = np.pad(IMAGES, ((0, 0), (context, context), (context, context), (0, 0)))
    patches = np.asarray(cut(IMAGES, 4, context)).reshape(3, 2, 3, 4 + 2 * context, 4 + 2 * context, 2)
    for row in range(2):
        for column in range(3):
            down, right = (slice(4 * at, 4 * at + 4 + 2 * context) for at in (row, column))
            np.testing.assert_array_equal(patches[:, row, column], padded[:, down, right])


@pytest.mark.parametrize("context", [0, 2])
def test_put_together_they_are_the_images(context):
    np.testing.assert_array_equal(put_together(cut(IMAGES, 4, context), IMAGES.shape, 4, context), IMAGES)


def test_a_side_that_is_not_divided_is_refused():
    with pytest.raises(ValueError, match="patch_size must divide the image sides 8×12, got 5"):
        cut(IMAGES, 5)
