"""Means and variances of a stream of batches, in memory that does not grow (Welford; Chan, Golub & LeVeque 1983)."""

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A measured number and its standard error, same unit."""

    value: float
    standard_error: float


class Stream(NamedTuple):
    """count of samples; mean and sum of squared deviations, each (k,) float64 for k statistics."""

    count: int
    mean: np.ndarray
    squares: np.ndarray

    def estimate(self, statistic: int) -> Estimate:
        """Mean of one statistic with its standard error; needs at least two samples."""
        variance = self.squares[statistic] / (self.count - 1)
        return Estimate(float(self.mean[statistic]), float(np.sqrt(variance / self.count)))

    def variance(self, statistic: int) -> float:
        """Unbiased variance of one statistic."""
        return float(self.squares[statistic] / (self.count - 1))


def empty(statistics: int) -> Stream:
    """A stream of k statistics that has seen nothing."""
    return Stream(0, np.zeros(statistics), np.zeros(statistics))


def absorb(stream: Stream, batch: np.ndarray) -> Stream:
    """The stream after a batch (samples, k) of any float dtype."""
    batch = np.asarray(batch, np.float64)
    size, mean = len(batch), batch.mean(axis=0)
    squares = ((batch - mean) ** 2).sum(axis=0)
    total, shift = stream.count + size, mean - stream.mean
    return Stream(
        total,
        stream.mean + shift * size / total,
        stream.squares + squares + shift**2 * stream.count * size / total,
    )
