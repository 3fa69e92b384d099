"""Boundary and HopSkipJump on victims whose boundary is known: a half-space, coin flips, and none at all."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.attack import Threat
from sims.attacks.ball import Norm, distance
from sims.attacks.decision.boundary import (
    APPROACHING,
    LONGEST_SOURCE,
    LONGEST_SPHERICAL,
    SHORTEST,
    SOURCE_RATE,
    SPHERICAL_RATE,
    TURNING,
    Boundary,
    boundary,
)
from sims.attacks.decision.closest import OPENINGS
from sims.attacks.decision.hop_skip_jump import (
    BISECTING,
    HALVINGS,
    JUMPING,
    OPENING,
    PROBING,
    USUAL_JUMPS,
    HopSkipJump,
    batch_size,
    bisections,
    hop_skip_jump,
)
from sims.attacks.table import build_attack, read_attack
from sims.victims.oracle import Answer

SIDE, COUNT, STEPS = 8, 12, 1500
D, SHAPE = SIDE**2, (SIDE, SIDE, 1)
RNG = np.random.default_rng(2)
CLEAN = RNG.uniform(0.45, 0.55, (COUNT, *SHAPE)).astype(np.float32)
NORMAL = RNG.normal(size=SHAPE).astype(np.float32)
NORMAL /= np.linalg.norm(NORMAL)
MARGIN = 0.2  # ℓ2 distance of every clean image from the plane
CLASSES = RNG.normal(size=(4, D)).astype(np.float32) / SIDE
ATTACKS: dict[str, tuple[Any, Any, Norm]] = {
    "boundary-l2": (boundary, Boundary(), "l2"),
    "hop-skip-jump-l2": (hop_skip_jump, HopSkipJump(), "l2"),
    "hop-skip-jump-linf": (hop_skip_jump, HopSkipJump(), "linf"),
}
FOOLED_ONCE = np.where(np.arange(STEPS) < 1, -np.inf, 0)
ONE_NORM = [pytest.param(name, marks=[pytest.mark.slow] * (name == "hop-skip-jump-l2")) for name in ATTACKS]
EVERY = pytest.mark.parametrize("name", ONE_NORM)


class Victim(NamedTuple):
    """Adversarial where all faces @ image >= heights + shift of the step, after noise: a half-space, or a class."""

    faces: np.ndarray
    heights: np.ndarray
    shifts: np.ndarray
    noise: float


def half_space(shifts: Any = 0.0, noise: float = 0.0) -> Victim:
    """MARGIN away from every clean image, moved by its shift in each step."""
    faces = np.broadcast_to(NORMAL.reshape(1, D), (3, D))
    heights = CLEAN.reshape(COUNT, D) @ faces.T + MARGIN
    return Victim(faces, heights, np.broadcast_to(np.float32(shifts), (STEPS,)), noise)


def region_of_class(target: int) -> Victim:
    """Where CLASSES @ image is largest for the target."""
    faces = CLASSES[target] - np.delete(CLASSES, target, axis=0)
    return Victim(faces, np.zeros((COUNT, 3), np.float32), np.zeros(STEPS, np.float32), 0.0)


@functools.cache
def compiled(name: str, epsilon: float):
    """All images attacked for STEPS steps by one compiled loop; every victim is an argument of it."""
    build, settings, norm = ATTACKS[name]
    attack = build(Threat(norm, epsilon, STEPS), settings)

    def one(key, clean, start, faces, heights, shifts, noise):
        def step(state, now):
            key, shift = now
            ask_key, noise_key = jax.random.split(key)
            queries = attack.ask(ask_key, state)
            inside = jnp.min(faces @ queries.images.reshape(D) - heights) - shift
            fooled = inside + noise * jax.random.normal(noise_key) >= 0
            told = attack.tell(state, queries, Answer(fooled[None].astype(jnp.int32), fooled[None]))
            after = jax.tree.map(lambda a, b: jnp.where(queries.needed[0], a, b), told, state)
            asked = {"image": queries.images[0], "needed": queries.needed[0], "fooled": fooled}
            return after, asked | {"phase": state.phase, "count": state.count, "distance": attack.report(after).value}

        return jax.lax.scan(step, attack.init(key, clean, start), (jax.random.split(key, STEPS), shifts))

    return jax.jit(jax.vmap(one, (0, 0, 0, None, 0, None, None)))


def walk(name: str, victim: Victim, starts=CLEAN, epsilon: float = math.inf):
    """The last state; per image and step the query, whether it was needed and fooled, the phase, count, distance."""
    keys = jax.random.split(jax.random.key(0), COUNT)
    state, record = compiled(name, epsilon)(keys, CLEAN, starts, *victim)
    return state, {key: np.asarray(value) for key, value in record.items()}


@EVERY
def test_it_approaches_the_plane(name):
    _, record = walk(name, half_space())
    exact = MARGIN if name.endswith("l2") else MARGIN / np.abs(NORMAL).sum()
    ratio = record["distance"] / exact
    assert (ratio[:, 100] > 2).all()
    assert (ratio[:, -1] > 0.999).all()
    assert (ratio[:, -1] < {"boundary-l2": 1.02, "hop-skip-jump-l2": 1.1, "hop-skip-jump-linf": 1.2}[name]).all()
    assert record["needed"].all()


@EVERY
@pytest.mark.slow
@pytest.mark.parametrize(
    ("shifts", "noise"),
    [
        (0.0, 0.1),
        (0.0, 1e6),  # a coin flip
        (2.0, 1.0),  # seldom adversarial
        (-2.0, 1.0),  # nearly always
        (np.where(np.arange(STEPS) < 60, 0, np.inf), 0.0),  # nowhere, after it was found
    ],
)
def test_random_victims_do_not_stop_it(name, shifts, noise):
    starts = np.random.default_rng(4).uniform(0, 1, CLEAN.shape).astype(np.float32)
    state, record = walk(name, half_space(shifts, noise), starts)
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(state))
    assert record["image"].min() >= 0
    assert record["image"].max() <= 1
    assert (record["distance"][:, 1:] <= record["distance"][:, :-1]).all()
    found = np.isfinite(record["distance"][:, OPENINGS])
    assert found.mean() > 0.5
    assert np.array_equal(record["needed"][found, 1:], record["distance"][found, :-1] > 0)
    if "boundary" not in name:  # which may turn for ever
        for phases in record["phase"][found]:
            assert np.diff(np.flatnonzero(np.diff(phases, append=-1))).max() < STEPS / 2


@EVERY
def test_it_gives_up_where_nothing_is_adversarial(name):
    _, record = walk(name, half_space(np.inf))
    assert np.array_equal(record["needed"], np.broadcast_to(np.arange(STEPS) < OPENINGS, (COUNT, STEPS)))
    assert np.isinf(record["distance"]).all()
    assert (record["image"][:, 0] == CLEAN).all()
    tried = record["image"][:, 1:OPENINGS].reshape(COUNT * (OPENINGS - 1), -1)
    assert len(np.unique(tried, axis=0)) == len(tried)


@EVERY
def test_a_clean_image_that_fools_ends_it(name):
    _, record = walk(name, half_space(FOOLED_ONCE))
    assert (record["distance"] == 0).all()
    assert (record["needed"].sum(axis=1) == 1).all()


def test_a_clean_image_that_lost_its_vote_is_forgotten():
    _, record = walk("boundary-l2", half_space(FOOLED_ONCE), epsilon=2 * MARGIN)
    assert record["needed"].all()
    assert (record["distance"][:, 0] == 0).all()
    assert ((record["distance"][:, -1] > 0) & (record["distance"][:, -1] <= 2 * MARGIN)).all()


def test_rounds_of_hop_skip_jump_cost_what_their_closed_form_says():
    _, record = walk("hop-skip-jump-l2", half_space())
    k, initial = bisections("l2", D, HopSkipJump()), HopSkipJump().initial_batch
    assert k == math.ceil(math.log2(math.sqrt(D) / 0.01))
    for phases, counts, fooled in zip(record["phase"], record["count"], record["fooled"], strict=True):
        ends = np.flatnonzero(np.diff(phases)) + 1
        runs = [(int(part[0]), len(part)) for part in np.split(phases, ends)]
        assert runs[0][0] == OPENING
        spent, overhead = runs[0][1], k + USUAL_JUMPS
        for t, (bisecting, probing, jumping) in enumerate(zip(runs[1::3], runs[2::3], runs[3::3], strict=False), 1):
            assert [phase for phase, _ in (bisecting, probing, jumping)] == [BISECTING, PROBING, JUMPING]
            assert bisecting[1] == k
            left, wanted = STEPS - spent - k, math.floor(initial * math.sqrt(t))
            whole = left >= 2 * overhead + wanted + wanted // 2
            assert probing[1] == (wanted if whole else max(left - overhead, 1))
            assert jumping[1] <= HALVINGS
            spent += k + probing[1] + jumping[1]
        assert t >= 5
        jumps = phases[:-1] == JUMPING
        assert np.array_equal(fooled[:-1][jumps], phases[1:][jumps] == BISECTING)
        assert (np.diff(counts)[np.diff(phases) == 0] == 1).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_lengths_of_probes_and_jumps(norm):
    found = 200  # the first round is over by then, and no jump lands any more
    _, record = walk(f"hop-skip-jump-{norm}", half_space(np.where(np.arange(STEPS) < found, 0, np.inf)))
    for phases, fooled, images, clean in zip(record["phase"], record["fooled"], record["image"], CLEAN, strict=True):
        probing = np.flatnonzero(phases == PROBING)[0]
        end = images[np.flatnonzero(fooled[:probing])[-1]]
        length = float(distance(norm, end, clean))
        probes = images[probing : probing + HopSkipJump().initial_batch]
        assert np.allclose(np.linalg.norm((probes - end).reshape(-1, D), axis=1), 0.01 * length, rtol=1e-3)
        first = float(distance(norm, images[probing + len(probes)], end))
        assert 0.8 * length < first < 1.001 * length
        denied = np.flatnonzero((phases == JUMPING) & (np.arange(STEPS) >= found))
        tried = images[denied[denied < denied[0] + HALVINGS]]
        reach = [float(distance(norm, image, tried[-1])) for image in tried[1:6]]
        assert np.allclose(np.divide(reach[:-1], reach[1:]), 2, rtol=0.05)


def test_batches_follow_the_published_schedule_and_the_last_takes_what_is_left():
    t = np.array([1, 2, 3, 10, 9_999, 10_000, 20_000])
    plenty = jnp.int32(10**8)
    assert batch_size(100, jnp.asarray(t), plenty, 16).tolist() == [100, 141, 173, 316, 9_999, 10_000, 10_000]
    left = np.arange(400)
    sizes = jax.vmap(lambda left: batch_size(100, jnp.int32(1), left, 16))(left)
    assert np.array_equal(sizes, np.where(left >= 16 + 100 + 16 + 50, 100, np.maximum(left - 16, 1)))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_bisection_ends_within_theta(norm):
    _, record = walk(f"hop-skip-jump-{norm}", half_space())
    theta = 0.01 / math.sqrt(D) if norm == "l2" else 0.01 / D
    k = bisections(norm, D, HopSkipJump())
    assert 2.0**-k <= theta < 2.0 ** (1 - k)
    for i in range(COUNT):
        at = np.flatnonzero(record["phase"][i] == BISECTING)[:k]
        opening = record["image"][i, at[0] - 1]
        shares = [
            float(distance(norm, image, CLEAN[i]) / distance(norm, opening, CLEAN[i]))
            for image in record["image"][i, at]
        ]
        fooled = record["fooled"][i, at]
        low = max([share for share, bad in zip(shares, fooled, strict=True) if not bad], default=0)
        high = min([share for share, bad in zip(shares, fooled, strict=True) if bad], default=1)
        assert 0 < high - low < theta * 1.01


@EVERY
def test_a_targeted_run_from_an_image_of_the_target_class_ends_in_it(name):
    target = 2
    pool = np.random.default_rng(5).uniform(0, 1, (400, *SHAPE)).astype(np.float32)
    of_target = pool[(pool.reshape(-1, D) @ CLASSES.T).argmax(axis=1) == target]
    other = (CLEAN.reshape(-1, D) @ CLASSES.T).argmax(axis=1) != target
    assert other.sum() >= 6
    state, record = walk(name, region_of_class(target), starts=of_target[:COUNT])
    closest = np.asarray(state.closest.image).reshape(-1, D)
    assert ((closest @ CLASSES.T).argmax(axis=1) == target)[other].all()
    assert record["fooled"][:, 0].all()
    assert (record["distance"][other, -1] < 0.25 * record["distance"][other, 0]).all()


def test_the_lengths_of_boundary_follow_its_answers():
    state, record = walk("boundary-l2", half_space())
    turning, approaching = (record["phase"] == phase for phase in (TURNING, APPROACHING))
    for length, steps, rate, longest in (
        (state.spherical_step, turning, SPHERICAL_RATE, LONGEST_SPHERICAL),
        (state.source_step, turning | approaching, np.where(turning, SPHERICAL_RATE, SOURCE_RATE), LONGEST_SOURCE),
    ):
        powers, logarithm = (record["fooled"] - rate) * steps, np.full(COUNT, math.log(0.01))
        for power in powers.T:
            logarithm = np.clip(logarithm + power * math.log(1.5), math.log(SHORTEST), math.log(longest))
        assert np.allclose(np.log(length), logarithm, atol=1e-2)
    assert abs(record["fooled"][turning].mean() - SPHERICAL_RATE) < 0.02
    assert abs(record["fooled"][approaching].mean() - SOURCE_RATE) < 0.05


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hop-skip-jump:initial_batch=0", "initial_batch must be >= 1, got 0"),
        ("hop-skip-jump:probe_fraction=0", r"probe_fraction must be in \(0, 1\], got 0"),
        ("boundary:spherical_step=2", r"spherical_step must be in \[1e-06, 1\], got 2"),
        ("boundary:source_step=0.6", r"source_step must be in \[1e-06, 0.5\], got 0.6"),
        ("boundary:adaptation=1", "adaptation must be > 1 and finite, got 1"),
    ],
)
def test_bad_settings_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        build_attack(read_attack(text), Threat("l2"))
