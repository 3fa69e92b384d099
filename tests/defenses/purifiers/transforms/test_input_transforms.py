import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.purifiers.table import read_defense
from defenses.purifiers.transforms.gaussian_noise import gaussian_noise
from defenses.purifiers.transforms.identity import identity
from defenses.purifiers.transforms.mean_filter import mean_filter
from defenses.purifiers.transforms.median_filter import median_filter
from defenses.purifiers.transforms.quantizer import quantizer, random_quantizer
from defenses.purifiers.transforms.resize_pad import resize_pad


@pytest.mark.parametrize("size", [1, 3, 5])
def test_mean_filter_is_the_mean_of_each_window(size, row_keys):
    images = np.random.default_rng(0).uniform(-1, 2, (4, 6, 9, 3)).astype(np.float32)
    filtered = mean_filter(size).apply({}, row_keys[:4], jnp.asarray(images))
    reach = size // 2
    expected = np.empty_like(images)
    for i, j in np.ndindex(6, 9):
        rows = np.clip(np.arange(i - reach, i + reach + 1), 0, 5)
        columns = np.clip(np.arange(j - reach, j + reach + 1), 0, 8)
        expected[:, i, j] = images[:, rows][:, :, columns].mean((1, 2))
    np.testing.assert_allclose(filtered, expected, atol=1e-6)


@pytest.mark.parametrize("size", [0, 2, -3])
def test_mean_filter_refuses_even_and_empty_windows(size):
    with pytest.raises(ValueError, match=f"size must be odd and >= 1, got {size}"):
        mean_filter(size)


def test_gaussian_noise_has_mean_zero_and_variance_sigma_squared():
    sigma, rows = 0.3, 4000
    keys = jax.random.split(jax.random.key(0), rows)
    defense = gaussian_noise(sigma)
    images = jnp.full((rows, 4, 4, 1), 0.5)
    noise = np.asarray(defense.apply(defense.params, keys, images), np.float64) - 0.5
    assert abs(noise.mean()) < 4 * sigma / np.sqrt(noise.size)
    standard_error = sigma**2 * np.sqrt(2 / noise.size)
    assert abs(noise.var() - sigma**2) < 4 * standard_error
    between_pixels = np.cov(noise.reshape(rows, -1), rowvar=False) - sigma**2 * np.eye(16)
    assert np.abs(between_pixels).max() < 5 * sigma**2 * np.sqrt(2 / rows)
    assert abs(noise.var() - sigma**2 * 1.05) > 4 * standard_error, "too few draws to see 5 %"


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_gaussian_noise_refuses(sigma):
    with pytest.raises(ValueError, match="std must be >= 0 and finite"):
        gaussian_noise(sigma)


def test_identity(row_keys, held_out):
    assert np.array_equal(identity().apply({}, row_keys, held_out.images[:64]), held_out.images[:64])


@pytest.mark.parametrize("make", [quantizer, random_quantizer])
def test_quantizers_give_their_levels_and_no_gradient(make, row_keys):
    images = jnp.asarray(np.random.default_rng(1).uniform(size=(4, 5, 5, 2)), jnp.float32)
    defense = make(5)

    def output(images):
        return defense.apply({}, row_keys[:4], images)

    np.testing.assert_allclose(output(images) * 4, np.round(output(images) * 4), atol=1e-6)
    assert abs(output(images) - images).max() <= (0.125 if make is quantizer else 0.25) + 1e-6
    assert (jax.grad(lambda images: output(images).sum())(images) == 0).all()
    assert defense.randomized == (make is random_quantizer)


def test_the_random_quantizer_keeps_the_mean():
    keys = jax.random.split(jax.random.key(0), 4000)
    images = jnp.full((4000, 3, 3, 1), 0.3)
    outputs = np.asarray(random_quantizer(3).apply({}, keys, images))
    assert set(np.unique(outputs)) == {0.0, 0.5}
    assert abs(outputs.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.2 / outputs.size)


@pytest.mark.parametrize("levels", [1, 0])
@pytest.mark.parametrize("make", [quantizer, random_quantizer])
def test_quantizers_refuse_levels_that_are_no_levels(make, levels):
    with pytest.raises(ValueError, match=f"levels must be >= 2, got {levels}"):
        make(levels)
    with pytest.raises(ValueError, match=r"quantizer:levels must be an integer, got '2.5'"):
        read_defense("quantizer:levels=2.5")


def test_a_white_pixel_stays_white():
    keys = jax.random.split(jax.random.key(0), 2000)
    assert (random_quantizer(256).apply({}, keys, jnp.ones((2000, 16, 16, 1))) == 1).all()


def test_median_filter_is_the_median_of_each_window(row_keys):
    images = np.random.default_rng(0).uniform(-1, 2, (4, 6, 9, 3)).astype(np.float32)
    filtered = median_filter().apply({}, row_keys[:4], jnp.asarray(images))
    expected = np.empty_like(images)
    for i, j in np.ndindex(6, 9):
        rows, columns = np.clip(np.arange(i - 1, i + 2), 0, 5), np.clip(np.arange(j - 1, j + 2), 0, 8)
        expected[:, i, j] = np.median(images[:, rows][:, :, columns], (1, 2))
    np.testing.assert_array_equal(filtered, expected)


def test_resize_pad_shrinks_to_random_sizes_at_random_places():
    """On a white image: black outside a square of the drawn size, whose mean area is that of a uniform side."""
    side, smallest, rows = 32, 0.5, 2000
    keys = jax.random.split(jax.random.key(0), rows)
    images = np.asarray(resize_pad(smallest).apply({}, keys, jnp.ones((rows, side, side, 1))))
    area = images.mean((1, 2, 3))
    expected = (1 - smallest**3) / (3 * (1 - smallest))
    assert abs(area.mean() - expected) < 4 * area.std() / np.sqrt(rows) + 1 / side**2
    first_rows = (images[..., 0] > 0.5).any(axis=2).argmax(axis=1)
    assert set(first_rows) == set(range(side // 2 + 1))
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6


def test_resize_pad_at_full_size_changes_nothing(row_keys, held_out):
    images = jnp.asarray(held_out.images[:8])
    np.testing.assert_allclose(resize_pad(1.0).apply({}, row_keys[:8], images), images, atol=1e-6)
