"""Geometry of Square: its schedule, its starts and moves, the ℓ2 bump, and the ball they live in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.attack import Threat
from sims.attacks.ball import check_ball, project
from sims.attacks.score import square as module
from sims.attacks.score.square import Square, SquareState, square
from sims.victims.oracle import Answer

SHAPE, EPSILON = (13, 17, 3), {"linf": 0.1, "l2": 1.5}
KEYS = jax.random.split(jax.random.key(4), 200)
CLEAN = np.random.default_rng(0).uniform(size=SHAPE).astype(np.float32)
GREY = jnp.full(SHAPE, 0.5)
# one program for every side of the square
RECOLOURED = jax.jit(
    jax.vmap(lambda key, image, side: module._recoloured(key, GREY, image, side, 0.1), (0, None, None))
)
MOVED = jax.jit(jax.vmap(lambda key, delta, side: module._move_mass(key, delta, side, 1.5), (0, None, None)))
PAIR = jax.jit(module._paired_bumps)
BUMP = jax.jit(module._bump)


def length(norm: str, delta) -> np.ndarray:
    flat = np.asarray(delta, float).reshape(len(delta), -1)
    return abs(flat).max(axis=1) if norm == "linf" else np.linalg.norm(flat, axis=1)


def projection(norm):
    return jax.jit(jax.vmap(lambda image: project(norm, image, jnp.asarray(CLEAN), EPSILON[norm])))


PROJECTED = {norm: projection(norm) for norm in EPSILON}


@pytest.mark.parametrize("spread", [0.01, 1.0])
@pytest.mark.parametrize("norm", EPSILON)
def test_projection(norm, spread):
    image = (CLEAN + spread * np.random.default_rng(1).normal(size=(50, *SHAPE))).astype(np.float32)
    projected = PROJECTED[norm]
    got = np.asarray(projected(image))
    assert got.min() >= 0
    assert got.max() <= 1
    assert (length(norm, got - CLEAN) <= EPSILON[norm] * (1 + 1e-5)).all()
    assert np.allclose(projected(got), got, atol=1e-6)
    feasible = np.clip(CLEAN + 1e-3 * np.sign(image - CLEAN), 0, 1)
    assert np.allclose(projected(feasible), feasible, atol=1e-6)


def test_projection_hand_values():
    clean, projected = np.array([0.5, 0.5, 0.95]), jax.jit(project, static_argnums=0)
    linf = projected("linf", np.array([0.9, 0.45, 2.0]), clean, 0.1)
    assert np.allclose(linf, [0.6, 0.45, 1.0])
    l2 = projected("l2", np.array([0.8, 0.9, 0.95]), clean, 0.25)
    assert np.allclose(l2, [0.65, 0.7, 0.95])


@pytest.mark.parametrize(
    ("epsilon", "message"),
    [
        (0.0, "epsilon must be > 0 and finite, got 0.0"),
        (float("nan"), "epsilon must be > 0 and finite, got nan"),
        (float("inf"), "epsilon must be > 0 and finite, got inf"),
    ],
)
def test_a_bad_ball_is_named(epsilon, message):
    with pytest.raises(ValueError, match=message):
        check_ball(epsilon)


def published_side(step: int, p: float, h: int) -> int:
    """The schedule for 10,000 queries, row by row as published."""
    table = [(10, 1), (50, 2), (200, 4), (500, 8), (1000, 16), (2000, 32), (4000, 64), (6000, 128), (8000, 256)]
    share = next((p / divisor for last, divisor in table if step <= last), p / 512)
    return min(max(round((share * h * h) ** 0.5), 1), h - 1)


@pytest.mark.parametrize(("h", "p"), [(8, 0.8), (32, 0.8), (32, 0.05), (224, 0.1)])
def test_side_follows_the_published_schedule(h, p):
    def side(steps: int, budget: int):
        sides = jax.jit(jax.vmap(lambda step: module._side(step, budget, p, (h, h, 3))))
        return np.asarray(sides(np.arange(steps)))

    full = side(10_001, 10_000)
    assert full.tolist() == [published_side(step, p, h) for step in range(10_001)]
    assert np.array_equal(side(501, 500), full[::20])
    assert full[0] > full[-1] == max(1, round((p / 512 * h * h) ** 0.5))


def test_linf_start_is_vertical_stripes():
    stripes = np.asarray(jax.jit(jax.vmap(lambda key: module._striped(key, GREY, 0.1)))(KEYS)) - 0.5
    assert (stripes == stripes[:, :1]).all()
    assert np.allclose(abs(stripes), 0.1)
    signs = np.sign(stripes[:, 0]).reshape(len(KEYS), -1)
    assert (abs(signs.mean(axis=0)) < 4 / np.sqrt(len(KEYS))).all()
    assert (abs(signs.T @ signs / len(KEYS) - np.eye(signs.shape[1])) < 4 / np.sqrt(len(KEYS))).all()


@pytest.mark.parametrize("side", [1, 4, 12])
def test_linf_move_recolours_one_window(side):
    moved = np.asarray(RECOLOURED(KEYS, GREY, side)) - 0.5  # of the clean image, which no colour of a window equals
    corners = set()
    for one in moved:
        rows, columns, _ = np.nonzero(one)
        top, left = rows.min(), columns.min()
        window = one[top : top + side, left : left + side]
        assert np.count_nonzero(one) == window.size == side * side * 3
        assert (window == window[0, 0]).all()
        assert np.allclose(abs(window), 0.1)
        corners.add((int(top), int(left)))
    assert {top for top, _ in corners} == set(range(SHAPE[0] - side + 1))
    assert {left for _, left in corners} == set(range(SHAPE[1] - side + 1))


def test_linf_move_always_changes_the_image():
    """On an image whose every window has one colour already, the seven other colours are equally likely."""
    held = np.array([0.6, 0.4, 0.6], np.float32)
    moved = np.asarray(RECOLOURED(KEYS, jnp.broadcast_to(held, SHAPE), 12))
    colours = [tuple(one[6, 8] > 0.5) for one in moved]
    counts = np.array([colours.count(colour) for colour in set(colours)])
    assert len(counts) == 7
    assert (True, False, True) not in colours
    assert ((counts - len(KEYS) / 7) ** 2 / (len(KEYS) / 7)).sum() < 22.5  # 0.1 % of chi-square with 6 degrees


def paper_bump(height: int, width: int) -> np.ndarray:
    """The paper's Σ_{k=0}^{M} 1/(n+1−k)², M = n − max(|r−⌊h/2⌋−1|, |s−⌊w/2⌋−1|), n = ⌊max(h, w)/2⌋, from r = s = 1."""
    n, eta = max(height, width) // 2, np.zeros((height, width))
    for r in range(1, height + 1):
        for s in range(1, width + 1):
            m = n - max(abs(r - height // 2 - 1), abs(s - width // 2 - 1))
            eta[r - 1, s - 1] = sum(1 / (n + 1 - k) ** 2 for k in range(m + 1))
    return eta


def paper_pair(side: int) -> np.ndarray:
    half = side // 2
    eta = np.concatenate([paper_bump(half, side), -paper_bump(side - half, side)])
    return eta / np.linalg.norm(eta)


@pytest.mark.parametrize(("height", "width"), [(1, 3), (2, 5), (3, 5), (5, 9), (1, 1)])
def test_bump_is_the_formula_of_the_paper(height, width):
    rows, columns = np.meshgrid(np.arange(13) - 2, np.arange(17) - 3, indexing="ij")
    got = np.asarray(BUMP(rows, columns, height, width))
    expected = np.zeros((13, 17))
    expected[2 : 2 + height, 3 : 3 + width] = paper_bump(height, width)
    assert np.allclose(got, expected, atol=1e-6)
    assert np.unravel_index(got.argmax(), got.shape) == (2 + height // 2, 3 + width // 2)


@pytest.mark.parametrize("side", [3, 12])
def test_pair_of_bumps_fills_its_window(side):
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    assert np.allclose(PAIR(rows, columns, side, True), paper_pair(side), atol=1e-6)
    assert np.allclose(PAIR(rows, columns, side, False), paper_pair(side).T, atol=1e-6)


def test_l2_start_tiles_the_image_with_pairs():
    starts = np.asarray(jax.jit(jax.vmap(lambda key: module._bumpy(key, jnp.zeros((20, 20, 2)), 1.5)))(KEYS[:5]))
    assert np.allclose(length("l2", starts), 1.5, rtol=1e-5)
    pair, kinds = paper_pair(4), set()
    for tile in starts.reshape(5, 5, 4, 5, 4, 2).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4, 4):
        unit = tile / np.linalg.norm(tile)
        choices = {name: np.allclose(unit, s * p, atol=1e-5) for name, s, p in _kinds(pair)}
        assert sum(choices.values()) == 1
        kinds |= {name for name, found in choices.items() if found}
    assert len(kinds) == 4


def _kinds(pair):
    return [("up", 1, pair), ("down", -1, pair), ("left", 1, pair.T), ("right", -1, pair.T)]


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("side", [3, 7])
def test_l2_move_spends_the_whole_radius(share, side):
    delta = np.random.default_rng(1).normal(size=SHAPE)
    delta = (share * 1.5 * delta / np.linalg.norm(delta)).astype(np.float32)
    moved = np.asarray(MOVED(KEYS, delta, side))
    assert np.allclose(length("l2", moved), 1.5, rtol=1e-4)
    changed = (abs(moved - delta) > 1e-7).any(axis=-1).sum(axis=(1, 2))
    assert (changed <= 2 * side**2).all()
    emptied = ((moved == 0).all(axis=-1) & (delta != 0).any(axis=-1)).sum(axis=(1, 2))
    assert (emptied > 0).mean() > 0.5 if share else (emptied == 0).all()


@pytest.mark.parametrize("norm", EPSILON)
def test_start_and_moves_stay_in_the_ball_and_keep_what_is_better(norm):
    attack = square(Threat(norm, EPSILON[norm], 200), Square(0.3))

    def step(state: SquareState, key):
        queries = attack.ask(key, state)
        loss = jnp.sum(queries.images * np.cos(np.arange(np.prod(SHAPE)).reshape(SHAPE)), axis=(1, 2, 3))
        after = attack.tell(state, queries, Answer(loss, jnp.array([False])))
        return after, (queries.images[0], after.image, loss[0], after.value)

    def walk(keys):
        return jax.lax.scan(step, attack.init(keys[0], jnp.asarray(CLEAN), jnp.asarray(CLEAN)), keys)[1]

    asked, kept, losses, best = map(np.asarray, jax.jit(walk)(KEYS))
    for images in (asked, kept):
        assert images.min() >= 0
        assert images.max() <= 1
        assert (length(norm, images - CLEAN) <= EPSILON[norm] * (1 + 1e-5)).all()
    assert length(norm, asked - CLEAN).min() > 0.5 * EPSILON[norm]
    assert np.array_equal(best, np.minimum.accumulate(losses))
    assert best[-1] < best[0] - 0.5


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 40])
def test_channels_are_turned_round_one_at_least_and_each_as_often(channels):
    upwards, turned = jax.vmap(lambda key: module._sign_and_turn(key, channels))(jax.random.split(KEYS[0], 4000))
    assert turned.any(axis=1).all()
    often = 2 ** (channels - 1) / (2**channels - 1)
    assert np.allclose(upwards.mean(axis=0), 0.5, atol=4 * 0.5 / np.sqrt(4000))
    assert np.allclose(turned.mean(axis=0), often, atol=4 * np.sqrt(often * (1 - often) / 4000) + 1e-9)
    if channels > 1:
        assert len({tuple(row) for row in np.asarray(turned).tolist()}) > min(
            2**channels - 2, 3700
        )  # few sets of 16 twice


def test_the_memory_of_a_bump_grows_with_the_image_alone():
    """η on 375 × 500 pixels takes a few images, not one for every size of the rectangles."""
    rows = jnp.zeros((375, 500), jnp.int32)
    analysis = BUMP.lower(rows, rows, 100, 100).compile().memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes < 10 * rows.nbytes
