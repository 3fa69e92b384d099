"""Slow-down: censoring, intervals that cover, and the prediction from the second moment."""

import numpy as np
import pytest

from sims import intervals
from sims.measurements.slow_down import measured_slow_down, predicted_slow_down, restricted_queries

BUDGET, D, MU, Q = 1000, 30, 0.1, 10


def test_resisting_images_count_as_the_whole_budget():
    queries = np.array([10, 20, 37, 999])
    success = np.array([True, False, True, False])
    assert restricted_queries(queries, success, BUDGET).tolist() == [10, BUDGET, 37, BUDGET]


def coverage(repeats: int = 400, images: int = 100) -> float:
    """Share of intervals that contain the ratio of means of a paired sample: 2 + 1/2."""
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(repeats):
        reference = rng.uniform(50, 150, size=images)
        defended = 2 * reference + rng.uniform(0, 100, size=images)
        interval = measured_slow_down(reference, defended, seed)
        assert interval.low <= interval.value <= interval.high
        hits += interval.low <= 2.5 <= interval.high
    return hits / repeats


def test_bootstrap_interval_covers_the_truth(monkeypatch):
    error = np.sqrt(0.95 * 0.05 / 400)
    assert abs(coverage() - 0.95) < 4 * error
    monkeypatch.setattr(intervals, "LEVEL", 0.8)
    assert abs(coverage() - 0.95) > 4 * error


def test_bootstrap_is_paired_and_reproducible():
    reference = np.random.default_rng(1).uniform(1, 100, size=50)
    exact = measured_slow_down(reference, 3 * reference, 0)
    assert exact == pytest.approx((3, 3, 3))
    shuffled = np.random.default_rng(2).permutation(3 * reference)
    unpaired = measured_slow_down(reference, shuffled, 0)
    assert unpaired.value == pytest.approx(3)
    assert unpaired.high - unpaired.low > 0.5
    assert unpaired == measured_slow_down(reference, shuffled, 0) != measured_slow_down(reference, shuffled, 1)


def predict(reference, v_reference=0.0, v_defended=0.0, g_reference=2.0, g_defended=2.0, budget=BUDGET) -> float:
    same = np.ones(len(reference))
    gradients, variances = (g_reference * same, g_defended * same), (v_reference * same, v_defended * same)
    return predicted_slow_down(np.asarray(reference, float), budget, gradients, variances, D, MU, Q)


def cost(gradient: float, variance: float) -> float:
    """E‖ḡ‖²/‖∇F̄‖² of the average of Q antithetic directions on a linear loss (E3, E6)."""
    return 1 + ((D + 1) + D * variance / (2 * MU**2 * gradient**2)) / Q


@pytest.mark.parametrize("gradients", [(2.0, 2.0), (2.0, 0.5), (1.0, 7.0)])
def test_no_variance_predicts_no_slow_down(gradients):
    g_reference, g_defended = gradients
    assert predict([5, 80, BUDGET], g_reference=g_reference, g_defended=g_defended) == pytest.approx(1)


@pytest.mark.parametrize(("v_reference", "v_defended", "g_defended"), [(0, 0.5, 2), (0.1, 0.5, 1), (0.5, 0, 2)])
def test_prediction_follows_the_second_moment(v_reference, v_defended, g_defended):
    expected = cost(g_defended, v_defended) / cost(2, v_reference)
    got = predict([5, 8, 20], v_reference, v_defended, g_defended=g_defended, budget=10**6)
    assert got == pytest.approx(expected)
    assert abs(expected - 1) > 0.1


def test_prediction_is_censored_at_the_budget():
    factor = cost(2, 0.5) / cost(2, 0)
    reference = np.array([BUDGET / factor / 2, BUDGET / factor * 2, BUDGET])
    expected = (BUDGET / 2 + 2 * BUDGET) / reference.sum()
    assert predict(reference, v_defended=0.5) == pytest.approx(expected)
    assert predict([BUDGET] * 3, v_defended=0.5) == 1
    assert predict([BUDGET] * 3, v_reference=0.5) == 1, "what resisted without the defence is not expected to fall"


def test_an_image_without_a_gradient_is_predicted_to_resist():
    queries, flat = np.array([10.0, 10.0]), (np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    variances = (np.zeros(2), np.zeros(2))
    assert predicted_slow_down(queries, 100, flat, variances, 12, 0.1, Q) == pytest.approx((10 + 100) / 20)
