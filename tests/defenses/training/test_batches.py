import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.data.dataset import Bytes, Split
from defenses.training.augmentation import AUGMENTATIONS
from defenses.training.batches import Rows, on_device, shuffled, with_replacement

PIXELS = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
ROWS = Rows(jnp.asarray(PIXELS), jnp.arange(10))
KEY = jax.random.key(3)


def drawn(batches, round_number, place):
    order = batches.order(round_number)
    return batches.draw(jnp.int32(round_number * batches.steps + place), jnp.int32(place), order, ROWS)


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own():
    batches = shuffled(KEY, 10, 2, AUGMENTATIONS["none"])
    assert (batches.unit, batches.steps, batches.size) == ("epoch", 5, 2)
    first, second = (np.concatenate([drawn(batches, epoch, k)[2] for k in range(5)]) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)
    assert np.array_equal(first, np.concatenate([drawn(batches, 0, k)[2] for k in range(5)]))


def test_the_last_partial_batch_is_left_out():
    assert shuffled(KEY, 11, 2, AUGMENTATIONS["none"]).steps == 5


def test_images_are_those_of_the_labels_in_the_unit_interval():
    for batches in (shuffled(KEY, 10, 4, AUGMENTATIONS["none"]), with_replacement(KEY, 10, 4)):
        _, images, labels = drawn(batches, 0, 1)
        assert images.dtype == np.float32
        np.testing.assert_allclose(images.ravel(), labels / 255, rtol=1e-6)


def test_every_step_has_a_key_of_its_own():
    for batches in (shuffled(KEY, 10, 4, AUGMENTATIONS["none"]), with_replacement(KEY, 10, 4)):
        keys = {tuple(jax.random.key_data(drawn(batches, epoch, k)[0]).tolist()) for epoch in (0, 1) for k in (0, 1)}
        assert len(keys) == 4


def test_images_of_an_epoch_are_augmented_from_the_steps_key():
    batches = shuffled(KEY, 10, 4, lambda key, pixels: pixels * 0 + jax.random.randint(key, (), 1, 200, jnp.uint8))
    seen = [float(drawn(batches, 0, k)[1][0, 0, 0, 0]) for k in (0, 1)]
    assert seen[0] != seen[1]
    assert seen[0] == float(drawn(batches, 0, 0)[1][0, 0, 0, 0])


def test_rows_drawn_anew_are_uniform_and_independent():
    """Counts of 4,000 draws among ten rows: chi-square of nine degrees, below its 1 - 1e-6 quantile of 47."""
    batches = with_replacement(KEY, 10, 4)
    draw = jax.jit(jax.vmap(lambda step: batches.draw(step, jnp.int32(0), None, ROWS)[2]))
    labels = np.asarray(draw(jnp.arange(1000)))
    counts = np.bincount(labels.ravel(), minlength=10)
    assert ((counts - 400) ** 2 / 400).sum() < 47
    assert (labels[:, 0] == labels[:, 1]).mean() == pytest.approx(0.1, abs=0.04)


def test_bytes_stay_bytes_on_the_device_and_are_the_same_images():
    split = Split(Bytes(PIXELS), np.arange(10, dtype=np.int32))
    assert on_device(split).pixels.dtype == np.uint8
    floats = on_device(Split(split.images[:], split.labels))
    batches = with_replacement(KEY, 10, 4)
    images = [batches.draw(jnp.int32(0), jnp.int32(0), None, rows)[1] for rows in (on_device(split), floats)]
    np.testing.assert_allclose(*images, rtol=1e-6)
