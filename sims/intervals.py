"""Two-sided 95 % intervals of what was measured, for reports and for figures. Imports no jax.

A share has Wilson's interval and a mean the normal law's; what has no formula is resampled by the one bootstrap.
`scipy.stats` takes a second or two to import, so it is left to SciPy to do so when a share is first asked for.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy
import xarray as xr
from jaxtyping import Float, Shaped
from scipy.special import ndtri

LEVEL = 0.95
RESAMPLES = 2000
Z = float(ndtri((1 + LEVEL) / 2))
"""How many standard errors the interval of a normal law reaches to each side: 1.96."""


class Interval(NamedTuple):
    """A number with its two-sided 95 % interval."""

    value: float
    low: float
    high: float


def share(successes: int, trials: int) -> Interval:
    """Share of successes with Wilson's interval (1927), in [0, 1].

    successes: 0 to trials, else SciPy's ValueError. trials: >= 1.
    """
    value = successes / trials
    # Which share is tested is of no matter to the interval; the one that was found is tested fastest.
    test = scipy.stats.binomtest(successes, trials, value)
    low, high = test.proportion_ci(LEVEL, method="wilson")
    return Interval(value, float(low), float(high))


def mean_and_half_width(values: xr.DataArray, over: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over a dimension and 1.96 standard errors of it, in the shape of the other dimensions; nan for one value."""
    mean = values.mean(over)
    return mean.values, (Z * values.std(over, ddof=1) / np.sqrt(values.sizes[over])).values


def bootstrap(
    statistic: Callable[..., Any],
    *samples: Shaped[np.ndarray, " n"],
    seed: int,
    ends: Literal["linear", "nearest"] = "linear",
) -> Interval:
    """A statistic of paired samples, with the percentile interval of RESAMPLES draws of n places with replacement.

    statistic: takes as many arrays as there are samples, (n,) or (RESAMPLES, n), and works along their last axis.
    ends: how NumPy's percentile finds the interval's ends, between two resampled values (`linear`) or at one of them
    (`nearest`, which never subtracts one infinite value from another). Raises ValueError for samples of different
    lengths or without a value.

    `scipy.stats.bootstrap` gives the same in the same time, but it refuses a single image, warns where a resampled
    median is infinite, and has `linear` ends only: the others would still have to be taken here.
    """
    count, tail = len(samples[0]), 100 * (1 - LEVEL) / 2
    if count == 0 or any(len(sample) != count for sample in samples):
        raise ValueError(f"samples must be paired and not empty, got lengths {[len(sample) for sample in samples]}")
    draws = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    resampled = statistic(*(sample[draws] for sample in samples))
    low, high = np.percentile(resampled, [tail, 100 - tail], method=ends)
    return Interval(float(statistic(*samples)), float(low), float(high))


def difference_of_shares(ours: Shaped[np.ndarray, " n"], theirs: Shaped[np.ndarray, " n"], seed: int) -> Interval:
    """Share of images for which `ours` holds minus that of `theirs`; per image a bool, or the share of its runs."""
    gaps = ours.astype(float) - theirs.astype(float)
    return bootstrap(lambda gaps: gaps.mean(axis=-1), gaps, seed=seed, ends="nearest")


def ratio_of_medians(ours: Float[np.ndarray, " n"], theirs: Float[np.ndarray, " n"], seed: int) -> Interval:
    """Median of ours over median of theirs, both >= 0; nan where neither is finite."""

    def ratio(above: Float[np.ndarray, "*r n"], below: Float[np.ndarray, "*r n"]) -> Any:
        return np.median(above, axis=-1) / np.median(below, axis=-1)

    with np.errstate(invalid="ignore", divide="ignore"):
        return bootstrap(ratio, ours, theirs, seed=seed, ends="nearest")
