import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses import zoo
from defenses.defense import Defense, compose
from defenses.purifiers.table import DEFENSES
from defenses.purifiers.transforms.gaussian_noise import gaussian_noise
from defenses.purifiers.transforms.identity import identity
from defenses.purifiers.transforms.mean_filter import mean_filter

AROUND = {"mean-of", "dld", "aaa", "random-scale", "feature-noise"}  # functions of a model
NAMES = [name for name in DEFENSES if name not in AROUND]
# as patchwise-purifier, gaussian-noise, local-purifier and mean-filter:
LIKE_ANOTHER = {"random-purifier", "random-quantizer", "average-purifier", "puridefense", "disco", "median-filter"}
BITS = [pytest.param(name, marks=[pytest.mark.slow] * (name in LIKE_ANOTHER)) for name in NAMES]


@pytest.fixture(scope="module", params=NAMES)
def defense(request, purifiers, folders):
    """Every defence of the table that takes images to images, at its default settings."""
    method, site = DEFENSES[request.param], zoo.site("digits", 0, folders)
    return method.build(method.settings(), None if method.train is None else method.train(site))


def apply(defense, keys, images):
    return np.asarray(jax.jit(defense.apply)(defense.params, keys, images))


def test_record(defense, row_keys, held_out):
    images = held_out.images[:64]
    purified = apply(defense, row_keys, images)
    assert isinstance(defense, Defense)
    assert isinstance(defense.randomized, bool)
    assert defense.name == defense.name.lower()
    assert purified.shape == images.shape
    assert purified.dtype == np.float32
    assert np.isfinite(purified).all()


def test_equal_keys_and_images_give_equal_rows(defense, row_keys, held_out):
    images = jnp.tile(held_out.images[:1], (64, 1, 1, 1))
    purified = apply(defense, jnp.broadcast_to(row_keys[:1], 64), images)
    assert (purified == purified[0]).all()


def test_different_keys_give_different_rows_iff_randomized(defense, row_keys, held_out):
    images = jnp.tile(held_out.images[:1], (64, 1, 1, 1))
    purified = apply(defense, row_keys, images)
    assert (purified != purified[0]).any() == defense.randomized


@pytest.mark.as_users_compile
@pytest.mark.parametrize(
    "batch", [pytest.param(8, marks=pytest.mark.slow), 16, pytest.param(32, marks=pytest.mark.slow), 64]
)
@pytest.mark.parametrize("defense", BITS, indirect=True)
def test_bits_of_a_row_ignore_neighbours_and_position(defense, row_keys, held_out, batch, users_options):
    def purified(data, images):
        return defense.apply(defense.params, jax.random.wrap_key_data(data), images)

    purify = jax.jit(purified, compiler_options=users_options)
    keys, images = np.asarray(jax.random.key_data(row_keys)), held_out.images[:64]
    order = np.random.default_rng(batch).permutation(64)
    parts = [purify(keys[rows], images[rows]) for rows in order.reshape(-1, batch)]
    assert np.array_equal(np.concatenate(parts), np.asarray(purify(keys, images))[order])


def test_pixels_outside_the_box_are_not_clipped(defense, row_keys):
    images = jnp.full((64, 8, 8, 1), 3.0)
    assert apply(defense, row_keys, images)[:, 2:-2, 2:-2].min() > 1.5


def test_compose_runs_left_to_right(row_keys, held_out):
    images = held_out.images[:64]
    double = Defense("double", {"factor": jnp.float32(2)}, lambda p, keys, x: p["factor"] * x, False)
    add = Defense("add", {}, lambda p, keys, x: x + 1, False)
    assert np.array_equal(apply(compose(double, add), row_keys, images), 2 * images + 1)
    assert np.array_equal(apply(compose(add, double), row_keys, images), 2 * (images + 1))


def test_compose_record():
    both = compose(mean_filter(3), gaussian_noise(0.1))
    assert both.name == "mean-filter+gaussian-noise"
    assert both.randomized
    assert not compose(identity(), mean_filter(3)).randomized
    assert len(both.params) == 2


def test_compose_gives_each_member_its_own_key(row_keys):
    images = jnp.zeros((64, 8, 8, 1))
    noise = gaussian_noise(1.0)
    total = apply(compose(noise, noise), row_keys, images)
    parts = [apply(noise, jax.vmap(jax.random.fold_in, (0, None))(row_keys, index), images) for index in range(2)]
    np.testing.assert_allclose(total, parts[0] + parts[1], atol=1e-6)
    assert np.abs(np.corrcoef(parts[0].ravel(), parts[1].ravel())[0, 1]) < 4 / np.sqrt(images.size)


def test_compose_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one defence"):
        compose()
