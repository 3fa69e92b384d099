"""Streamed moments against numpy on hard data, and the verdict rules at their edges."""

import math

import numpy as np
import pytest

from sims.measurements.streaming import Estimate, Stream, absorb, empty
from sims.verification.verdict import judge

DATA = {
    "plain": np.random.default_rng(0).normal(size=(997, 3)),
    "large mean, tiny variance": 1e8 + 1e-3 * np.random.default_rng(1).normal(size=(997, 3)),
    "heavy tail": np.random.default_rng(2).standard_t(1.5, size=(997, 3)),
    "drift": np.linspace(-1e6, 1e6, 997)[:, None] + np.random.default_rng(3).normal(size=(997, 3)),
    "constant": np.full((997, 3), 0.1),
}
SPLITS = {"one batch": [], "rows": list(range(1, 997)), "uneven": [1, 2, 500, 996], "even": list(range(50, 997, 50))}


def stream_of(data: np.ndarray, cuts: list[int]) -> Stream:
    stream = empty(data.shape[1])
    for batch in np.split(data, cuts):
        stream = absorb(stream, batch)
    return stream


def naive_variance(data: np.ndarray) -> np.ndarray:
    """The textbook formula that cancels."""
    n = len(data)
    return ((data**2).sum(axis=0) - data.sum(axis=0) ** 2 / n) / (n - 1)


@pytest.mark.parametrize("cuts", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_stream_agrees_with_numpy_however_it_is_split(data, cuts):
    stream = stream_of(data, cuts)
    variance = data.var(axis=0, ddof=1)
    assert stream.count == len(data)
    for i in range(3):
        assert stream.variance(i) == pytest.approx(variance[i], rel=1e-5, abs=1e-25)
        estimate = stream.estimate(i)
        assert estimate.value == pytest.approx(data[:, i].mean(), rel=1e-12, abs=1e-9)
        assert estimate.standard_error == pytest.approx(math.sqrt(variance[i] / len(data)), rel=1e-5, abs=1e-12)


def test_the_hard_data_are_hard():
    hard = DATA["large mean, tiny variance"]
    assert not np.allclose(naive_variance(hard), hard.var(axis=0, ddof=1), rtol=0.5)


def test_float32_batches_are_summed_in_float64():
    data = (1000 + np.random.default_rng(4).normal(size=(5000, 1))).astype(np.float32)
    stream = stream_of(data, [1234])
    assert stream.mean.dtype == np.float64
    assert stream.variance(0) == pytest.approx(data.astype(float).var(ddof=1), rel=1e-9)


def test_a_non_finite_sample_is_not_averaged_away():
    stream = absorb(stream_of(DATA["plain"], []), np.array([[np.nan, 0, 0]]))
    assert math.isnan(stream.estimate(0).value)
    assert math.isfinite(stream.estimate(1).value)


CASES = [
    # sense, value, standard error, bound -> violated, precise, tight
    ("upper", 0.5, 0.01, 1.0, False, True, False),
    ("upper", 1.03, 0.01, 1.0, False, True, True),
    ("upper", 1.05, 0.01, 1.0, True, True, False),
    ("upper", 1.05, 0.03, 1.0, False, False, True),
    ("upper", -3.0, 0.01, -2.0, False, True, False),
    ("upper", -1.0, 0.01, -2.0, True, True, False),
    ("lower", 1.5, 0.01, 1.0, False, True, False),
    ("lower", 0.97, 0.01, 1.0, False, True, True),
    ("lower", 0.95, 0.01, 1.0, True, True, False),
    ("equality", 1.03, 0.01, 1.0, False, True, True),
    ("equality", 0.97, 0.01, 1.0, False, True, True),
    ("equality", 1.05, 0.01, 1.0, True, True, False),
    ("equality", 0.95, 0.01, 1.0, True, True, False),
    ("equality", 1.0, 0.021, 1.0, False, False, True),
    ("equality", 1.0 + 5e-6, 0.0, 1.0, False, True, True),  # what float32 leaves
    ("equality", 1.0 + 5e-5, 0.0, 1.0, True, True, False),
    ("equality", 0.0, 0.0, 0.0, False, True, True),
    ("upper", 0.0, 0.01, 0.0, False, False, True),
]


@pytest.mark.parametrize(("sense", "value", "error", "bound", "violated", "precise", "tight"), CASES)
def test_verdict(sense, value, error, bound, violated, precise, tight):
    verdict = judge(sense, Estimate(value, error), bound)
    assert verdict[:3] == (violated, precise, tight)
    assert verdict.holds == (precise and not violated)


@pytest.mark.parametrize("sense", ["upper", "lower", "equality"])
@pytest.mark.parametrize("estimate", [Estimate(math.nan, 0.01), Estimate(0.9, math.nan), Estimate(math.nan, math.nan)])
def test_nan_is_a_violation(sense, estimate):
    verdict = judge(sense, estimate, 1.0)
    assert verdict.violated
    assert not verdict.holds


@pytest.mark.parametrize("sense", ["upper", "lower", "equality"])
@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_measurement_is_a_violation(sense, value):
    assert judge(sense, Estimate(value, 0.01), 1.0).violated
    assert judge(sense, Estimate(1.0, math.inf), 1.0).violated


def test_a_correct_statement_is_rarely_violated_and_a_wrong_one_always():
    rng, n = np.random.default_rng(5), 10_000
    estimates = [stream_of(rng.exponential(size=(n, 1)), []).estimate(0) for _ in range(200)]
    assert not any(judge("equality", estimate, 1.0).violated for estimate in estimates)
    assert all(judge("equality", estimate, 1.09).violated for estimate in estimates)
