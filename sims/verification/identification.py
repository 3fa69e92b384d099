"""P4 through the defences themselves: members of a pool, of one slope or of their own, are told apart by levels."""

from collections.abc import Iterator
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from defenses.purifiers.pools.family import PurifierFamily, family_of, patchwise_choice, random_choice
from defenses.purifiers.pools.shift import shift_family
from sims.attacks.estimators.identifying import identifying, matched, nearest
from sims.verification.check import Check, Statistic, sampled
from sims.verification.instances import LARGE, SMALL

K, GAP = 3, 5.0  # members, and the distance of their levels: V is GAP²(K² − 1)/12
RADIUS, PAIRS, REPEATS = 0.01, 32, 40  # a member stays unseen, or no pair matched, once in a million estimates
SAMPLES = 40_000
COLLECTED = 8  # members of the pool that is seen whole
QUERIES = 200  # after which one of them is still unseen once in 10¹⁰ times
SIDE, PATCHES = 4, 4


def checks() -> Iterator[Check]:
    """Rows of P4."""
    for d in (SMALL, LARGE):
        for name, slopes in (("constant shifts", _slopes(1, d).repeat(K, 0)), ("members of their own", _slopes(K, d))):
            mean = slopes.mean(axis=0)
            values = {"d": d, "q": 1, "grad": float(np.linalg.norm(mean)), "grad2": float((slopes**2).sum(1).mean())}
            given = _pool(slopes).params, jnp.asarray(mean, jnp.float32)
            measure = sampled(_matched_error(d), given, SAMPLES // (10 if d == LARGE else 1), 2000)
            yield Check("P4-matched", f"{name}, d = {d}", values, measure, slow=d == LARGE)
    shifts = shift_family(jnp.asarray(np.random.default_rng(3).normal(size=(K, SIDE, SIDE, 1)), jnp.float32))
    patchwise = patchwise_choice(shifts, SIDE // 2)
    for way, defense, patches in (("image-wise", random_choice(shifts), 1), ("patch-wise", patchwise, PATCHES)):
        alike = sampled(_alike(defense.apply), defense.params, 400_000)
        yield Check("P4-share", f"random shifts, {way}", {"K": K, "P": patches}, alike)
    for d in (SMALL, LARGE):
        pool = _pool(_slopes(1, d).repeat(COLLECTED, 0))
        collected = sampled(_collected(d), pool.params, SAMPLES, 4000)
        yield Check("P4-levels", f"constant shifts, d = {d}", {"K": COLLECTED}, collected, slow=d == LARGE)
        reconstructed = sampled(_reconstructed(d), pool.params, SAMPLES // 4, 1000)
        values = {"K": COLLECTED, "d": d}
        yield Check("P4-exact", f"constant shifts, d = {d}", values, reconstructed, slow=d == LARGE)


def _slopes(count: int, d: int) -> np.ndarray:
    return np.random.default_rng([count, d]).normal(size=(count, d)) / np.sqrt(d)


def _pool(slopes: np.ndarray) -> PurifierFamily:
    """Members that turn a point into the one number F_k(x) = ⟨a_k, x⟩ + k·GAP."""
    levels = GAP * np.arange(len(slopes), dtype=np.float32)
    params = {"slope": jnp.asarray(slopes, jnp.float32), "level": jnp.asarray(levels)}
    return family_of("levels", params, _loss_of_member, len(slopes))


def _loss_of_member(params, images):
    value = jnp.sum(images * params["slope"][:, None, None], axis=(1, 2, 3), keepdims=True) + params["level"]
    return jnp.broadcast_to(value, images.shape)


@cache
def _asked(count: int, d: int):
    """(params, key, points (n, d)) -> (n,) losses of members that are drawn anew for every point."""
    apply = random_choice(_pool(_slopes(1, d).repeat(count, 0))).apply

    def answers(params, key, points):
        return apply(params, jax.random.split(key, len(points)), points[:, :, None, None])[:, 0, 0, 0]

    return answers


@cache
def _matched_error(d: int) -> Statistic:
    """The squared error of an estimate times the number of its matched pairs: that of one."""
    estimator, answers = identifying(RADIUS, PAIRS, REPEATS), _asked(K, d)

    def statistic(given, key):
        params, mean = given
        ways, members = jax.random.split(key)
        points = estimator.points(jnp.zeros(d), estimator.directions(ways, (d,)))
        values = answers(params, members, points)
        kept = matched(values[:REPEATS], values[REPEATS : REPEATS + PAIRS], values[REPEATS + PAIRS :]).sum()
        return kept * jnp.sum((estimator.combine(points, values) - mean) ** 2)

    return statistic


@cache
def _alike(apply) -> Statistic:
    """Whether two fresh draws make the same of an image."""

    def statistic(params, key):
        one, other = apply(params, jax.random.split(key), jnp.zeros((2, SIDE, SIDE, 1)))
        return jnp.all(one == other).astype(jnp.float32)

    return statistic


def _levels_seen(values: jax.Array) -> jax.Array:
    """How many queries it took until all members had answered. values: (QUERIES,) answers of one point."""
    members = jnp.round(values / GAP)[:, None] == jnp.arange(COLLECTED)
    return 1 + jnp.argmax(jnp.all(jax.lax.cummax(members.astype(jnp.int32), axis=0) > 0, axis=1))


@cache
def _collected(d: int) -> Statistic:
    answers = _asked(COLLECTED, d)
    return lambda params, key: _levels_seen(answers(params, key, jnp.zeros((QUERIES, d)))).astype(jnp.float32)


@cache
def _reconstructed(d: int) -> Statistic:
    """The queries that the exact gradient took; none where it was not found."""
    answers = _asked(COLLECTED, d)

    def statistic(params, key):
        first, then = jax.random.split(key)
        levels = answers(params, first, jnp.zeros((QUERIES, d)))
        steps = answers(params, then, jnp.eye(d))
        found = jnp.allclose(steps - nearest(levels, steps), params[0]["slope"][0], atol=1e-4)
        return jnp.where(found, _levels_seen(levels) + d, 0).astype(jnp.float32)

    return statistic
