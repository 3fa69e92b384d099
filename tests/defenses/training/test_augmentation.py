from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.training.augmentation import AUGMENTATIONS, PADDING, random_crop, random_crop_and_flip, random_flip

ROWS = 20_000
MOVES = 2 * PADDING + 1
# one image without any symmetry: 1 to 108 in an array that no crop and no flip maps onto itself
IMAGE = np.arange(1, 6 * 6 * 3 + 1, dtype=np.uint8).reshape(6, 6, 3)


def copies(rows=ROWS):
    return jnp.asarray(np.broadcast_to(IMAGE, (rows, *IMAGE.shape)))


def crops_by_hand():
    """The 81 windows of the padded image, by their corner."""
    padded = np.zeros((6 + 2 * PADDING, 6 + 2 * PADDING, 3), np.uint8)
    padded[PADDING:-PADDING, PADDING:-PADDING] = IMAGE
    return {padded[a : a + 6, b : b + 6].tobytes(): (a, b) for a in range(MOVES) for b in range(MOVES)}


def largest_deviation(counts, cells, rows=ROWS):
    """Of counts that should be equal, in standard errors."""
    expected = rows / cells
    return max(abs(count - expected) for count in counts) / np.sqrt(expected * (1 - 1 / cells))


def test_every_crop_is_a_window_and_all_are_equally_likely():
    windows = crops_by_hand()
    assert len(windows) == MOVES**2
    out = np.asarray(random_crop(jax.random.key(0), copies()))
    assert out.dtype == np.uint8
    counts = Counter(windows[image.tobytes()] for image in out)
    assert len(counts) == MOVES**2
    assert largest_deviation(counts.values(), MOVES**2) < 4


def test_half_of_the_images_are_mirrored_left_to_right():
    out = np.asarray(random_flip(jax.random.key(1), copies()))
    mirrored = (out == IMAGE[:, ::-1]).all((1, 2, 3))
    assert (mirrored | (out == IMAGE).all((1, 2, 3))).all()
    assert largest_deviation([mirrored.sum()], 2) < 4


def test_crop_and_flip_are_independent():
    windows = crops_by_hand()
    out = np.asarray(random_crop_and_flip(jax.random.key(2), copies()))
    counts = Counter()
    for image in out:
        kept = windows.get(image.tobytes())
        corner = kept or windows[image[:, ::-1].tobytes()]
        counts[corner[0] > PADDING, corner[1] > PADDING, kept is None] += 1
    share = {True: PADDING / MOVES, False: (PADDING + 1) / MOVES}
    for (down, right, _), count in counts.items():
        p = share[down] * share[right] / 2
        assert abs(count - ROWS * p) < 4 * np.sqrt(ROWS * p * (1 - p))
    assert len(counts) == 8


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_the_key_alone_decides(name):
    augment = AUGMENTATIONS[name]
    first, again, other = (np.asarray(augment(jax.random.key(k), copies(64))) for k in (3, 3, 4))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (name == "none")


def test_floats_are_moved_alike():
    key = jax.random.key(5)
    of_bytes = random_crop_and_flip(key, copies(32)).astype(jnp.float32) / 255
    assert np.array_equal(random_crop_and_flip(key, copies(32).astype(jnp.float32) / 255), of_bytes)
