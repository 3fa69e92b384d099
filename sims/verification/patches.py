"""P1 through the defences themselves: shift pools, image-wise and patch-wise, on a loss linear in the pixels."""

from collections.abc import Iterator
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from defenses.defense import Defense
from defenses.purifiers.pools.family import patchwise_choice, random_choice
from defenses.purifiers.pools.shift import shift_family
from sims.measurements.compilation import QUICK_COMPILATION
from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure, Statistic, exact, sampled

SIDE, PATCH, PATCHES, K, SAMPLES = 4, 2, 4, 3, 40_000
PAIRS = 8000  # of draws, among which the worst pair of assignments is: it has a chance of one in 400
RATIO_SAMPLES = 200_000  # a bound far below the measured value asks for a small error


def checks() -> Iterator[Check]:
    """Rows of P1."""
    rng = np.random.default_rng(10)
    slope = rng.normal(size=(SIDE, SIDE, 1))
    agreeing = np.array([1.0, -0.5, 0.2])[:, None, None, None] * np.ones((1, SIDE, SIDE, 1))
    pools = {"random shifts": (rng.normal(size=(K, SIDE, SIDE, 1)), slope), "agreeing shifts": (agreeing, agreeing[0])}
    for name, (shifts, weights) in pools.items():
        patchwise = patchwise_choice(shift_family(jnp.asarray(shifts, jnp.float32)), PATCH)
        whole = random_choice(shift_family(jnp.asarray(shifts, jnp.float32)))
        distances = _patch_distances(shifts)
        root_mean_squares, worst = np.sqrt(distances.mean(axis=(0, 1))), np.sqrt(distances.max(axis=(0, 1)))
        for way, defense in (("image-wise", whole), ("patch-wise", patchwise)):
            measure = sampled(_squared_distance(defense.apply), defense.params, SAMPLES)
            yield Check("P1-diversity", f"{name}, {way}", {"nu_p": root_mean_squares}, measure)
        yield Check("P1-worst", name, {"nu_p": worst}, _worst_distance(patchwise))
        effects = _patch_effects(shifts, weights)
        given = patchwise.params, jnp.asarray(weights, jnp.float32)
        variance = sampled(_half_square(patchwise.apply), given, RATIO_SAMPLES, 50_000)
        yield Check("P1-variance", name, {"V_p": effects.var(axis=0)}, variance)
        image_wise = float(effects.sum(axis=1).var())
        known = float(effects.var(axis=0).sum()) / (image_wise / PATCHES)
        yield Check("P1-ratio", name, {"V": image_wise, "P": PATCHES}, variance, known)


def _by_patch(images: np.ndarray) -> np.ndarray:
    """(..., SIDE, SIDE, 1) cut into (..., PATCHES, pixels of a patch)."""
    count = SIDE // PATCH
    cut = images.reshape(*images.shape[:-3], count, PATCH, count, PATCH)
    return np.swapaxes(cut, -3, -2).reshape(*images.shape[:-3], PATCHES, PATCH * PATCH)


def _patch_distances(shifts: np.ndarray) -> np.ndarray:
    """(K, K, PATCHES) squared distances of every ordered pair."""
    patches = _by_patch(shifts)
    return ((patches[:, None] - patches[None]) ** 2).sum(axis=-1)


def _patch_effects(shifts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(K, PATCHES) what each purifier's patch adds to the loss ⟨weights, x⟩."""
    return _by_patch(shifts * weights).sum(axis=-1)


def _pair(apply, params, key) -> jax.Array:
    """(2, SIDE, SIDE, 1): a zero image under two fresh draws."""
    return apply(params, jax.random.split(key), jnp.zeros((2, SIDE, SIDE, 1)))


@cache
def _squared_distance(apply) -> Statistic:
    def statistic(params, key):
        one, other = _pair(apply, params, key)
        return jnp.sum((one - other) ** 2)

    return statistic


def _worst_distance(defense: Defense) -> Measure:
    def measure(key) -> Estimate:
        keys, distance = jax.random.split(key, PAIRS), _squared_distance(defense.apply)
        pairs = jax.jit(jax.vmap(partial(distance, defense.params)), compiler_options=QUICK_COMPILATION)(keys)
        return exact(float(jnp.sqrt(pairs.max())))

    return measure


@cache
def _half_square(apply) -> Statistic:
    """V from pairs of fresh draws: half the squared difference of their losses."""

    def statistic(given, key):
        params, slope = given
        one, other = _pair(apply, params, key)
        return jnp.sum(slope * (one - other)) ** 2 / 2

    return statistic
