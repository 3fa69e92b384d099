"""Images as they are kept: the same numbers, in a quarter of the memory where a byte a value says all."""

import numpy as np
import pytest

from defenses.data.dataset import Bytes, kept

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (7, 4, 3, 2), dtype=np.uint8)
ROWS = np.array([5, 0, 3])


@pytest.mark.parametrize("at_once", [1, 30, 2**24])
def test_what_was_bytes_is_kept_as_bytes(at_once):
    images = Bytes(PIXELS)[:]
    for given in (images, Bytes(PIXELS)):
        found = kept(given, ROWS, at_once)
        assert isinstance(found, Bytes)
        np.testing.assert_array_equal(found[:], images[ROWS])


@pytest.mark.parametrize("at_once", [1, 2**24])
def test_what_is_finer_keeps_its_numbers(at_once):
    images = Bytes(PIXELS)[:]
    images[3, 0, 0, 0] = np.nextafter(images[3, 0, 0, 0], np.float32(2))  # the last bit of one number
    found = kept(images, ROWS, at_once)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, images[ROWS])


def test_none_of_them():
    assert kept(Bytes(PIXELS), np.zeros(0, int)).shape == (0, 4, 3, 2)
