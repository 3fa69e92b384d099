"""Two attacks on the same images: what one leaves beside the other, with paired bootstrap intervals over the images."""

import numpy as np
from jaxtyping import Float, Shaped

from sims.measurements.slow_down import LEVEL, RESAMPLES, Interval


def difference_of_shares(ours: Shaped[np.ndarray, " n"], theirs: Shaped[np.ndarray, " n"], seed: int) -> Interval:
    """Share of images for which `ours` holds minus that of `theirs`; per image a bool, or the share of its runs."""
    gaps = ours.astype(float) - theirs.astype(float)
    return _interval(float(gaps.mean()), gaps[_resamples(len(gaps), seed)].mean(axis=1))


def ratio_of_medians(ours: Float[np.ndarray, " n"], theirs: Float[np.ndarray, " n"], seed: int) -> Interval:
    """Median of ours over median of theirs, both >= 0; nan where neither is finite."""
    draws = _resamples(len(ours), seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(np.median(ours) / np.median(theirs))
        return _interval(value, np.median(ours[draws], axis=1) / np.median(theirs[draws], axis=1))


def _resamples(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))


def _interval(value: float, resampled: Float[np.ndarray, " resamples"]) -> Interval:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail], method="nearest")
    return Interval(value, float(low), float(high))
