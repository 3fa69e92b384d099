"""The mathematics of SimBA, SignHunter and Bandits-TD: bases, orders, flips and the prior."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from defenses.model import defended
from sims.attacks.attack import Threat
from sims.attacks.score import bandits
from sims.attacks.score.random_order import place_in, random_order
from sims.attacks.score.simba import PIXELS
from sims.attacks.score.simba_dct import cosines
from sims.attacks.table import build_attack, read_attack
from sims.engine.run import Schedule, run_attack
from sims.victims.oracle import oracle_of
from tests.sims.attacks.linear_loss import CLEAN, EPSILON, KEY, SHAPE, SIZE, SLOPE, answered, driven, linear
from tests.sims.small_victims import images, labels_of, linear_classifier, no_defense

DCT: Any = scipy.fft.dctn
INVERSE_DCT: Any = scipy.fft.idctn


@pytest.mark.parametrize("shape", [(6, 5, 2), (8, 8, 1)])
def test_cosines_are_the_inverse_transform_of_unit_vectors(shape):
    basis, channels = cosines(4), shape[2]
    count = basis.size(shape)
    assert count == 4 * 4 * channels
    vectors = np.asarray(jax.vmap(lambda i: basis.vector(i, shape))(jnp.arange(count)))
    flat = vectors.reshape(count, -1)
    assert np.allclose(flat @ flat.T, np.eye(count), atol=1e-6)
    units = np.zeros((4, 4, channels, *shape))
    for place in np.ndindex(4, 4, channels):
        units[place][place] = 1
    expected = INVERSE_DCT(units.reshape(count, *shape), axes=(1, 2), norm="ortho")
    assert np.allclose(vectors, expected, atol=1e-6)


def test_the_block_of_frequencies_fits_the_image():
    assert cosines(28).size((224, 224, 3)) == 28 * 28 * 3
    assert cosines(28).size((8, 6, 1)) == 48


def test_pixels_are_the_unit_vectors():
    vectors = jax.vmap(lambda i: PIXELS.vector(i, SHAPE))(jnp.arange(PIXELS.size(SHAPE)))
    assert np.array_equal(vectors.reshape(SIZE, SIZE), np.eye(SIZE))


@pytest.mark.parametrize("count", [1, 6, 3072])
def test_a_random_order_holds_everything_once_and_begins_again(count):
    order = random_order(KEY)
    places = np.asarray(jax.jit(jax.vmap(lambda turn: place_in(order, turn, count)))(jnp.arange(2 * count)))
    assert sorted(places[:count]) == list(range(count))
    assert np.array_equal(places[count:], places[:count])


@pytest.mark.parametrize(("count", "turns"), [(4, 4), (48, 2)])
def test_random_orders_are_uniform(count, turns):
    """All 24 orders of 4 things, and every pair of neighbours among 48, as often as chance has it."""
    draws = 10_000

    @jax.jit
    def places(keys):
        return jax.vmap(lambda order: jax.vmap(lambda t: place_in(order, t, count))(jnp.arange(turns)))(
            jax.vmap(random_order)(keys)
        )

    numbered = np.asarray(places(jax.random.split(KEY, draws))) @ count ** np.arange(turns)
    kinds = math.perm(count, turns)
    _, seen = np.unique(numbered, return_counts=True)
    statistic = np.sum(seen**2) * kinds / draws - draws
    assert abs(statistic - (kinds - 1)) < 4 * math.sqrt(2 * (kinds - 1))


@pytest.mark.parametrize("epsilon", [math.inf, 0.1])
def test_simba_goes_forth_and_back_once_per_pixel(epsilon):
    """On a linear loss a pixel costs one query where forth is downhill, else two, and always moves downhill."""
    steps = 1 + SIZE + int((SLOPE > 0).sum())
    states, queries = driven("simba:step=0.3", Threat("linf", epsilon, 500), steps)
    assert np.array_equal(queries.images[0, 0], CLEAN)
    assert states.turn[-2:].tolist() == [SIZE - 1, SIZE]
    assert np.allclose(states.image[-1], CLEAN - min(0.3, epsilon) * np.sign(SLOPE), atol=1e-6)
    assert np.allclose(states.value, linear(states.image), rtol=1e-5)
    moved = np.abs(queries.images[1:, 0] - states.image[:-1]) > 1e-6
    assert (moved.sum(axis=(1, 2, 3)) == 1).all()


def test_simba_dct_walks_down_a_linear_loss_along_every_cosine():
    states, _ = driven("simba-dct:step=0.05,frequencies=4", Threat("l2", 10.0, 500), 1 + 2 * SIZE)
    walked = DCT(states.image[states.turn == SIZE][0] - CLEAN, axes=(0, 1), norm="ortho")
    slopes = DCT(SLOPE, axes=(0, 1), norm="ortho")
    assert np.allclose(walked, -0.05 * np.sign(slopes), atol=1e-5)


@pytest.mark.parametrize("name", ["simba", "sign-hunter"])
def test_the_adaptive_variant_asks_again_what_the_incumbent_is_worth(name):
    attack = build_attack(read_attack(f"{name}:reevaluate=true"), Threat("linf", EPSILON, 500))
    ask, tell = jax.jit(attack.ask), jax.jit(lambda *parts: answered(attack, *parts))
    begin = attack.init(KEY, jnp.asarray(CLEAN), jnp.asarray(CLEAN))
    opening = ask(KEY, begin)
    assert opening.needed.tolist() == [True, False]
    lucky = tell(begin, opening, 1.0, 77.0)
    assert lucky.value == 1
    queries = ask(KEY, lucky)
    assert queries.needed.tolist() == [True, True]
    assert np.array_equal(queries.images[1], lucky.image)
    replaced = tell(lucky, queries, 2.5, 3.0)  # the incumbent's 1 was luck
    assert replaced.value == 2.5
    assert np.array_equal(replaced.image, queries.images[0])
    kept = tell(lucky, queries, 2.5, 2.0)
    assert kept.value == 2
    assert np.array_equal(kept.image, lucky.image)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_sign_hunter_needs_the_queries_of_its_bound(norm):
    """2^(⌈log₂ d⌉ + 1) queries find every sign of a linear loss, the last one with the last query."""
    assert SLOPE[-1, -1, -1] > 0  # its sign has to change, and is the last to be tried
    states, queries = driven("sign-hunter", Threat(norm, EPSILON, 500), 66)
    height = EPSILON if norm == "linf" else EPSILON / math.sqrt(SIZE)
    assert np.allclose(queries.images[0, 0], CLEAN + height)
    found = (states.up == (SLOPE < 0)).all(axis=(1, 2, 3))
    assert np.argmax(found) == 2 ** (5 + 1) - 1
    assert found[63:].all()
    assert np.allclose(states.image[63], CLEAN - height * np.sign(SLOPE), atol=1e-6)
    assert (states.level[63], states.chunk[63]) == (0, 0)


def test_sign_hunter_flips_every_chunk_once():
    """Of 6 pixels: all, halves, quarters of ⌈6/4⌉, single ones, and all again; fewer than the bound's 16 queries."""
    attack = build_attack(read_attack("sign-hunter"), Threat("linf", EPSILON, 500))
    ask, tell = jax.jit(attack.ask), jax.jit(lambda *parts: answered(attack, *parts))
    small = jnp.asarray(CLEAN[:3, :2, :1])
    state = attack.init(KEY, small, small)
    flipped = []
    for step in range(15):
        queries = ask(KEY, state)
        flipped.append(np.flatnonzero(queries.images[0] != small + EPSILON).tolist())
        state = tell(state, queries, float(step))  # never better than the first
    pairs, singles = [[0, 1], [2, 3], [4, 5]], [[i] for i in range(6)]
    whole = [0, 1, 2, 3, 4, 5]
    assert flipped == [[], whole, [0, 1, 2], [3, 4, 5], *pairs, *singles, whole, [0, 1, 2]]


def test_the_grid_is_enlarged_by_nearest_neighbours():
    tiles = jnp.arange(6.0).reshape(2, 3, 1)
    assert np.array_equal(bandits.enlarged(tiles, (4, 6, 1)), np.repeat(np.repeat(tiles, 2, 0), 2, 1))
    uneven = bandits.enlarged(jnp.arange(3.0).reshape(1, 3, 1), (1, 5, 1))
    assert uneven.ravel().tolist() == [0, 0, 1, 1, 2]
    grid = jax.random.normal(KEY, (3, 4, 2))
    assert np.allclose(bandits.shrunk(bandits.enlarged(grid, (7, 9, 2)), (3, 4, 2)), grid, atol=1e-6)


def test_probe_length_is_the_root_mean_square_of_the_probes():
    rng = np.random.default_rng(0)
    v, noise = rng.normal(size=(2, 4, 2)), 0.3 * rng.normal(size=(2000, 2, 4, 2)) / math.sqrt(16)
    lengths = 4 * 2 * ((v + noise) ** 2).sum(axis=(1, 2, 3))  # every tile is 4 × 2 pixels
    expected = float(bandits.probe_length(jnp.asarray(v), 0.3, (8, 8, 2))) ** 2
    assert abs(lengths.mean() - expected) < 4 * lengths.std() / math.sqrt(2000)
    assert lengths.std() / math.sqrt(2000) < 0.01 * expected


def published_prior(norm, v, gradient, rate):
    """One step along −gradient: exponentiated on (1 + v)/2, or plain."""
    if norm == "l2":
        return v - rate * gradient
    share = (1 + v) / 2
    up, down = share * np.exp(-rate * gradient), (1 - share) * np.exp(rate * gradient)
    return 2 * up / (up + down) - 1


def big(tiles):
    return np.repeat(np.repeat(tiles, 2, 0), 2, 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bandits_against_the_published_formulas(norm):
    settings = "difference=0.05,exploration=0.5,prior_rate=0.3,step_fraction=0.25,grid=2"
    attack = build_attack(read_attack(f"bandits-td:{settings}"), Threat(norm, 0.2, 100))
    ask, tell = jax.jit(attack.ask), jax.jit(lambda *parts: answered(attack, *parts))
    state, v = attack.init(KEY, jnp.asarray(CLEAN), jnp.asarray(CLEAN)), np.zeros((2, 2, 2))
    noise = 0.5 * np.asarray(jax.random.normal(KEY, v.shape)) / math.sqrt(8)
    for values in ([1.0, 1.3], [0.9, 0.2]):
        before, length = np.asarray(state.image), math.sqrt(4 * np.sum(v**2) + 0.5**2 * SIZE / 8)
        queries = ask(KEY, state)
        assert np.allclose(queries.images[0], before + 0.05 * big(v + noise) / length, atol=1e-6)
        assert np.allclose(queries.images[1], before + 0.05 * big(v - noise) / length, atol=1e-6)
        state = tell(state, queries, *values)
        v = published_prior(norm, v, (values[0] - values[1]) / (0.05 * 0.5) * noise, 0.3)
        assert np.allclose(bandits.direction(norm, state.prior), v, rtol=1e-3, atol=1e-4)
        step = np.sign(big(v)) if norm == "linf" else big(v) / np.linalg.norm(big(v))
        assert np.allclose(state.image, before + 0.05 * step, atol=1e-5)
        check = ask(KEY, state)
        assert check.needed.tolist() == [True, False]
        assert np.array_equal(check.images[0], state.image)
        state = tell(state, check, 0.7, 99.0)
        assert state.value == np.float32(0.7)
        assert np.array_equal(state.image, check.images[0])


@pytest.mark.slow
def test_a_targeted_attack_reaches_its_targets():
    classifier, pixels = linear_classifier(), images(16)
    targets = (labels_of(classifier, pixels) + 1) % 4
    oracle = oracle_of(defended(classifier, no_defense()), "loss", targeted=True)
    attack = build_attack(read_attack("simba"), Threat("linf", 0.12, 120, targeted=True))
    result = run_attack(KEY, attack, oracle, pixels, targets, np.arange(16), Schedule(120, 16, 8))
    assert 0.6 < result.success.mean() < 1
    assert np.array_equal(labels_of(classifier, result.images) == targets, result.success)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("simba:step=0", "step must be > 0 and finite, got 0"),
        ("simba-dct:step=inf", "step must be > 0 and finite, got inf"),
        ("simba-dct:frequencies=0", "frequencies must be >= 1, got 0"),
        ("bandits-td:grid=0", "grid must be > 0 and finite, got 0"),
        ("bandits-td:exploration=nan", "exploration must be > 0 and finite, got nan"),
        ("bandits-td:step_fraction=2", r"step_fraction must be in \(0, 1\], got 2"),
        ("zo-sgd:learning_rate=-1", "learning_rate must be > 0 and finite, got -1"),
        ("zo-adam:momentum=1", r"momentum must be in \[0, 1\), got 1"),
        ("spsa:step_fraction=0", r"step_fraction must be in \(0, 1\], got 0"),
        ("rgf:num_directions=0", "num_directions must be >= 1, got 0"),
    ],
)
def test_bad_settings_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        build_attack(read_attack(text), Threat())


@pytest.mark.parametrize(
    "name", ["spsa", "rgf", "zo-sgd", "zo-sign-sgd", "zo-adam", "nes", "bandits-td", "sign-hunter"]
)
def test_a_ball_is_needed(name):
    with pytest.raises(ValueError, match="epsilon must be > 0 and finite, got inf"):
        build_attack(read_attack(name), Threat(epsilon=math.inf))
