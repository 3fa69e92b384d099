"""RayS, GeoDA and Sign-OPT: half-spaces in closed form, their rounds by hand, victims that contradict themselves."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import idctn

from sims.attacks.attack import Threat
from sims.attacks.decision import geoda, rays, sign_opt
from sims.attacks.decision.closest import OPENINGS
from sims.attacks.decision.geoda import GeoDA
from sims.attacks.decision.ray_search import Bracket, Ray
from sims.attacks.decision.rays import Rays
from sims.attacks.decision.sign_opt import COARSE, SignOPT
from sims.attacks.score.frequencies import from_frequencies
from sims.victims.oracle import Answer

SHAPE, BUDGET = (4, 4, 2), 600
SIZE = int(np.prod(SHAPE))
CASES = {
    "rays-linf": (rays.METHOD, Rays()),
    "geoda-linf": (geoda.METHOD, GeoDA(frequency_share=1.0)),
    "geoda-l2": (geoda.METHOD, GeoDA(frequency_share=1.0)),
    "sign-opt-linf": (sign_opt.METHOD, SignOPT()),
    "sign-opt-l2": (sign_opt.METHOD, SignOPT()),
}
CLOSE = {"rays-linf": 1.01, "geoda-linf": 1.15, "geoda-l2": 1.15, "sign-opt-linf": 1.6, "sign-opt-l2": 1.1}
"""How near to the exact distance of a half-space, as a ratio."""
PLANES, STARTED, HOPELESS, WRONG, COIN, NOISY = (0, 1), 2, 3, 4, 5, 6
"""Two half-spaces, one with a start, one out of reach, one around the clean image, a coin, one answer in ten wrong."""
NORMALS = np.random.default_rng(3).normal(size=(7, SIZE)).astype(np.float32)
OFFSETS = 0.3 * np.linalg.norm(NORMALS, axis=1)
OFFSETS[HOPELESS], OFFSETS[WRONG] = np.inf, -1
COINS = np.array([0, 0, 0, 0, 0, 1, 0.2])
CLEAN = np.full(SHAPE, 0.5, np.float32)
STARTS = np.stack([CLEAN] * 7)
STARTS[STARTED] += 0.4 * np.sign(NORMALS[STARTED].reshape(SHAPE)) * np.linspace(0.5, 1, SIZE).reshape(SHAPE)


class Walk(NamedTuple):
    """states before each step, queries (steps, h, w, c), needed, fooled (steps,) and the state after the last step."""

    states: Any
    queries: Any
    needed: Any
    fooled: Any
    last: Any


@pytest.fixture(  # the slow set has each in its other norm
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in {"geoda-l2", "sign-opt-linf"})) for name in CASES],
)
def walks(request):
    """One attack against all seven victims, in one compilation."""
    name = request.param
    method, settings = CASES[name]
    attack = method.build(Threat(name.split("-")[-1], float("inf"), BUDGET), settings)

    def walk(key, start, normal, offset, coin):
        def step(state, key):
            ask_key, coin_key, side_key = jax.random.split(key, 3)
            queries = attack.ask(ask_key, state)
            fooled = jnp.vdot(normal, (queries.images[0] - CLEAN).reshape(-1)) > offset
            random = (jax.random.uniform(coin_key) < coin) & jnp.any(queries.images[0] != CLEAN)
            fooled = jnp.where(random, jax.random.bernoulli(side_key), fooled)[None]
            told = attack.tell(state, queries, Answer(jnp.zeros(1, jnp.int32), fooled))
            after = jax.tree.map(lambda new, old: jnp.where(queries.needed[0], new, old), told, state)
            return after, (state, queries.images[0], queries.needed[0], fooled[0])

        before = attack.init(key, jnp.asarray(CLEAN), start)
        last, seen = jax.lax.scan(step, before, jax.random.split(key, BUDGET))
        return Walk(*seen, last)

    keys = jax.random.split(jax.random.key(1), len(STARTS))
    all_walks = jax.jit(jax.vmap(walk))(keys, STARTS, NORMALS, OFFSETS, COINS)
    return name, [jax.tree.map(lambda a, i=i: np.asarray(a[i]), all_walks) for i in range(len(STARTS))]


def exact(name: str, victim: int) -> float:
    """Distance of the half-space: offset over the dual norm of its normal."""
    normal = NORMALS[victim]
    return OFFSETS[victim] / (abs(normal).sum() if name.endswith("linf") else np.linalg.norm(normal))


def runs(flags) -> list[int]:
    """Lengths of the unbroken runs of True that end before the last step."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, int)])))
    return [int(end - begin) for begin, end in zip(edges[::2], edges[1::2], strict=False)]


@pytest.mark.parametrize("victim", [*PLANES, STARTED])
def test_half_space(walks, victim):
    name, found = walks
    ratio = found[victim].last.closest.distance / exact(name, victim)
    assert 1 - 1e-4 <= ratio <= CLOSE[name]
    halfway = found[victim].states.closest.distance[BUDGET // 4] / exact(name, victim)
    assert ratio <= halfway


def test_it_gives_up_where_nothing_is_adversarial(walks):
    _, found = walks
    assert found[HOPELESS].needed.tolist() == [True] * OPENINGS + [False] * (BUDGET - OPENINGS)
    assert np.isinf(found[HOPELESS].last.closest.distance)


def test_one_query_tells_that_the_clean_image_fools(walks):
    _, found = walks
    assert found[WRONG].needed.tolist() == [True] + [False] * (BUDGET - 1)
    assert found[WRONG].last.closest.distance == 0
    assert np.array_equal(found[WRONG].queries[0], CLEAN)


def test_the_start_is_the_first_ray(walks):
    name, found = walks
    queries, start = found[STARTED].queries, STARTS[STARTED]
    assert np.allclose(queries[0], start, atol=1e-6)
    direction = np.sign(start - CLEAN) if name.startswith("rays") else start - CLEAN
    if name.startswith("rays"):
        assert np.isin(queries[1], [0, 1]).all()  # the corner of the box on that side
    first = (queries[1] - CLEAN) / np.linalg.norm(queries[1] - CLEAN)
    assert np.allclose(first, direction / np.linalg.norm(direction), atol=1e-5)


@pytest.mark.parametrize("victim", [COIN, NOISY])
def test_contradictions_stall_nothing(walks, victim):
    name, found = walks
    walk = found[victim]
    assert walk.needed.all()
    assert np.isfinite(walk.last.closest.distance)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(walk.last))
    assert walk.queries.min() >= 0
    assert walk.queries.max() <= 1
    if name.startswith("rays"):
        assert walk.last.tried >= BUDGET // 15
        return
    module = geoda if name.startswith("geoda") else sign_opt
    for phase in set(walk.states.phase) - {module.PROBING}:
        assert max(runs(walk.states.phase == phase), default=0) <= 40
    assert len(runs(walk.states.phase == module.PROBING)) >= 3


def test_blocks_of_rays_by_hand():
    def schedule(place, _):
        level, block = place
        return rays.next_block(level, block, 6), jnp.stack([level, block, rays.block_length(level, 6)])

    _, got = jax.lax.scan(schedule, (jnp.int32(0), jnp.int32(0)), length=13)
    halves, thirds = [[1, 0, 3], [1, 1, 3]], [[2, 0, 2], [2, 1, 2], [2, 2, 2]]
    pixels = [[3, i, 1] for i in range(6)]
    assert got.tolist() == [[0, 0, 6], *halves, *thirds, *pixels, [3, 0, 1]]


def test_an_attempt_flips_one_block_channels_first():
    clean = jnp.zeros((2, 3, 2))
    attack = rays.rays(Threat("linf", 0.1), Rays())
    state = attack.init(jax.random.key(0), clean, clean)._replace(signs=jnp.ones((2, 3, 2)))
    assert (rays.attempt(state) == -1).all()
    half = rays.attempt(state._replace(level=jnp.int32(1), block=jnp.int32(1)))
    assert half[..., 1].tolist() == [[-1, -1, -1], [-1, -1, -1]]
    assert half[..., 0].tolist() == [[1, 1, 1], [1, 1, 1]]
    quarter = rays.attempt(state._replace(level=jnp.int32(2), block=jnp.int32(1)))
    assert quarter[..., 0].tolist() == [[1, 1, 1], [-1, -1, -1]]
    assert (quarter[..., 1] == 1).all()


@pytest.mark.parametrize("walks", ["rays-linf"], indirect=True)
def test_a_better_ray_is_bisected_a_worse_one_costs_one_query(walks):
    walk = walks[1][PLANES[0]]
    states, tolerance = walk.states, 1e-3 / np.sqrt(SIZE)
    expected = [np.ceil(np.log2(r / tolerance)) for r in states.radius[:-1][np.diff(states.bisecting.astype(int)) == 1]]
    counted = runs(states.bisecting)
    assert len(counted) >= 5
    assert np.allclose(counted, expected[: len(counted)], atol=1)
    assert (states.radius >= np.minimum(states.closest.distance, 1) - 1e-6).all()  # that of an adversarial image
    fast = ~states.bisecting & (np.arange(BUDGET) > 0)
    moved = np.diff(states.block) != 0
    assert moved[fast[:-1] & ~walk.fooled[:-1]].mean() > 0.8  # the rest begin the next level at the same block


@pytest.mark.parametrize("shape", [(5, 7, 2), (6, 6, 1)])
def test_low_frequencies_are_orthonormal_cosines(shape):
    low = (3, 4, shape[2])
    basis = np.asarray(jax.vmap(lambda c: from_frequencies(c.reshape(low), shape))(jnp.eye(int(np.prod(low)))))
    flat = basis.reshape(len(basis), -1)
    assert np.allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-6)
    coefficients = np.random.default_rng(0).normal(size=low)
    padded = np.zeros(shape)
    padded[:3, :4] = coefficients
    expected = np.asarray(idctn(padded, axes=(0, 1), norm="ortho"))
    assert np.allclose(from_frequencies(jnp.asarray(coefficients), shape), expected, atol=1e-6)


def test_probes_of_geoda_are_white_in_their_subspace():
    shape = (6, 6, 1)
    noise, low = jax.vmap(lambda key: geoda.drawn(key, shape, 0.5))(jax.random.split(jax.random.key(1), 4000))
    assert set(np.unique(noise)) == {-1, 1}
    basis = np.asarray(jax.vmap(lambda c: from_frequencies(c.reshape(3, 3, 1), shape))(jnp.eye(9))).reshape(9, -1)
    coefficients = np.asarray(low).reshape(len(low), -1) @ basis.T
    assert np.allclose(coefficients @ basis, np.asarray(low).reshape(len(low), -1), atol=1e-5)
    error = np.abs(coefficients.T @ coefficients / 4000 - np.eye(9))
    assert (error < 4 * np.sqrt((1 + np.eye(9)) / 4000)).all()


def test_the_budget_of_geoda_is_shared_out_as_published():
    # 1,000 queries less 7 times a bisection of 14 + 2, over 6 rounds that grow by 0.6^(-2/3) = 1.4057
    assert geoda.shared_out(1000, GeoDA()) == geoda.Rounds((54, 75, 106, 149, 209, 294), 984)
    assert geoda.shared_out(1, GeoDA()).shares == (1,)
    assert len(geoda.shared_out(1000, GeoDA(first_probes=82)).shares) == 5


@pytest.mark.parametrize("walks", ["geoda-l2", "geoda-linf"], indirect=True)
def test_one_round_of_geoda(walks):
    walk = walks[1][PLANES[0]]
    phases, shares = walk.states.phase, geoda.shared_out(BUDGET, GeoDA()).shares
    opened = int(np.argmax(walk.fooled)) + 1
    assert runs(phases == geoda.OPENING) == [opened]
    assert runs(phases == geoda.PROBING)[:2] == list(shares[:2])
    begins = np.flatnonzero((phases[1:] == geoda.BISECTING) & (phases[:-1] != geoda.BISECTING)) + 1
    width = walk.states.bracket.upper[begins] - walk.states.bracket.lower[begins]
    assert np.allclose(runs(phases == geoda.BISECTING), np.ceil(np.log2(width / 1e-4))[:-1], atol=1)


def test_a_ray_of_geoda_that_leaves_the_box_is_given_up():
    clean, known = jnp.zeros((1, 2, 1)), jnp.array([0.6, 0.8]).reshape(1, 2, 1)
    attack = geoda.geoda(Threat("l2", 0.1), GeoDA())
    state = attack.init(jax.random.key(0), clean, known)
    far = Bracket(jnp.float32(1), jnp.float32(math.sqrt(2)))
    closest = state.closest._replace(image=known, distance=jnp.float32(1))
    state = state._replace(closest=closest, bracket=far, ray=Ray(-known, jnp.float32(1)))
    after = geoda._grown("l2", state, jnp.array(False))
    assert after.phase == geoda.PROBING
    assert np.array_equal(after.ray.direction, known)
    assert after.bracket.upper == after.ray.length == 1


@pytest.mark.parametrize("name", ["geoda-l2", "sign-opt-l2"])
def test_a_clean_image_that_fooled_by_chance_is_no_ray(name):
    method, settings = CASES[name]
    attack = method.build(Threat("l2", 0.1, BUDGET), settings)
    state, key = attack.init(jax.random.key(0), CLEAN, CLEAN), jax.random.key(1)
    lucky = attack.tell(state, attack.ask(key, state), Answer(jnp.zeros(1), jnp.array([True])))
    assert attack.report(lucky).success
    again = attack.ask(key, lucky)
    assert again.needed[0]
    assert not np.array_equal(again.images[0], CLEAN)
    assert lucky.phase == (geoda.OPENING if name == "geoda-l2" else sign_opt.OPENING)


@pytest.mark.parametrize("walks", ["sign-opt-l2"], indirect=True)
def test_a_probe_of_sign_opt_tells_the_sign_of_a_slope(walks):
    for victim in PLANES:
        walk, normal = walks[1][victim], NORMALS[victim]
        probing = walk.states.phase == sign_opt.PROBING
        assert set(runs(probing)) == {BUDGET // 20}
        moved = (walk.queries[probing] - CLEAN).reshape(-1, SIZE)
        inside = (walk.queries[probing].min(axis=(1, 2, 3)) > 0) & (walk.queries[probing].max(axis=(1, 2, 3)) < 1)
        radius_of = OFFSETS[victim] * np.linalg.norm(moved, axis=1) / (moved @ normal)
        falls = radius_of < walk.states.bracket.upper[probing]
        assert (falls == walk.fooled[probing])[inside].mean() > 0.99  # float32 at the boundary
        assert 0.3 < falls[inside].mean() < 0.7


@pytest.mark.parametrize("walks", ["sign-opt-l2"], indirect=True)
def test_the_gradient_of_sign_opt_points_away_from_the_boundary(walks):
    cosines = []
    for victim in PLANES:
        states, normal = walks[1][victim].states, NORMALS[victim]
        ends = np.flatnonzero((states.phase[1:] == sign_opt.STEPPING) & (states.phase[:-1] == sign_opt.PROBING)) + 1
        for end in ends:
            direction, gradient = (part[end].reshape(-1) for part in (states.ray.direction, states.gradient))
            slope = normal - (normal @ direction) / (direction @ direction) * direction
            cosines.append(-gradient @ slope / np.linalg.norm(gradient) / np.linalg.norm(slope))
    # q signs of random directions in d dimensions: cos² = s / (1 + s) with s = 2q / (πd)
    signal = 2 * (BUDGET / 20) / (np.pi * SIZE)
    assert len(cosines) >= 10
    assert abs(np.mean(cosines) - np.sqrt(signal / (1 + signal))) < 0.1


@pytest.mark.parametrize("walks", ["sign-opt-l2"], indirect=True)
def test_one_line_search_of_sign_opt(walks):
    walk = walks[1][PLANES[0]]
    states = walk.states
    assert runs(states.phase == sign_opt.OPENING)[0] == np.argmax(walk.fooled) + 1
    assert np.isin(walk.queries[1], [0, 1]).all()  # a direction is tried at the end of the box
    refined = runs(states.phase == sign_opt.REFINING)
    steps = np.log2(COARSE * states.bracket.upper[states.phase == sign_opt.REFINING].max() / 2e-6)
    assert max(refined[1:]) <= np.ceil(steps) + 1
    tried = np.flatnonzero(states.phase == sign_opt.STEPPING)
    for i in tried[tried < BUDGET - 1]:
        after, step = states.phase[i + 1], states.step[i]
        if walk.fooled[i]:
            assert after == sign_opt.SHRINKING
            assert states.accepted[i + 1] == step
            assert states.step[i + 1] == 2 * step
        elif states.accepted[i] > 0:
            assert after == sign_opt.REFINING
            assert states.step[i + 1] == states.accepted[i]
        else:
            assert after in (sign_opt.STEPPING, sign_opt.PROBING)


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (GeoDA, {"frequency_share": 0.0}, r"frequency_share must be in \(0, 1\], got 0.0"),
        (GeoDA, {"decay": 1.5}, r"decay must be in \(0, 1\], got 1.5"),
        (GeoDA, {"smoothing_radius": 0.0}, "smoothing_radius must be > 0 and finite, got 0.0"),
        (GeoDA, {"tolerance": float("inf")}, "tolerance must be > 0 and finite, got inf"),
        (GeoDA, {"first_probes": 0}, "first_probes must be >= 1, got 0"),
        (SignOPT, {"num_directions": 0}, "num_directions must be >= 1, got 0"),
        (SignOPT, {"num_starts": 0}, "num_starts must be >= 1, got 0"),
        (SignOPT, {"smoothing_radius": -1.0}, "smoothing_radius must be > 0 and finite, got -1.0"),
        (SignOPT, {"step_size": 0.0}, "step_size must be > 0 and finite, got 0.0"),
        (SignOPT, {"tolerance": 0.0}, "tolerance must be > 0 and finite, got 0.0"),
        (Rays, {"tolerance": 0.0}, "tolerance must be > 0 and finite, got 0.0"),
    ],
)
def test_bad_settings_are_named(settings, change, message):
    with pytest.raises(ValueError, match=message):
        settings(**change)
