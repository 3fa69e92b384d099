"""Intervals: Wilson's for shares, the normal law's for means, one paired bootstrap for the rest; no jax."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from sims.intervals import RESAMPLES, Z, bootstrap, difference_of_shares, mean_and_half_width, ratio_of_medians, share
from sims.records.code import ROOT

INF = float("inf")


def mean(values):
    return values.mean(axis=-1)


def ratio_of_means(above, below):
    return mean(above) / mean(below)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_shares_have_the_published_intervals(successes, trials, low, high):
    """Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    got = share(successes, trials)
    assert got == pytest.approx((successes / trials, low, high), abs=6e-5)
    mirrored = share(trials - successes, trials)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((got.low, got.high), abs=1e-12)


def closed_form(successes: int, trials: int) -> list[float]:
    """The p with |successes/trials − p| = z √(p(1 − p)/trials), roots of a quadratic (Wilson 1927)."""
    share, penalty = successes / trials, 1.959963984540054**2 / trials
    return sorted(np.roots([1 + penalty, -(2 * share + penalty), share**2]).real)


def around_the_share(successes: int, trials: int) -> list[float]:
    """The normal law's interval around the share itself (Wald): not Wilson's."""
    share = successes / trials
    half_width = Z * np.sqrt(share * (1 - share) / trials)
    return [share - half_width, share + half_width]


@pytest.mark.parametrize("trials", [1, 7, 200, 1000])
def test_the_interval_of_a_share_is_wilsons_closed_form(trials):
    for successes in range(trials + 1):
        got = share(successes, trials)
        assert 0 <= got.low <= got.value <= got.high <= 1
        assert [got.low, got.high] == pytest.approx(closed_form(successes, trials), abs=1e-9)
        assert [got.low, got.high] != pytest.approx(around_the_share(successes, trials), abs=1e-9)


def test_only_whole_counts_within_the_trials_are_shares():
    with pytest.raises(ValueError, match=r"k \(5\) must not be greater than n \(4\)"):
        share(5, 4)
    with pytest.raises(ValueError, match="k must be an integer not less than 0"):
        share(-1, 4)


def coverage_of_the_mean(width: float = 1.0, repeats: int = 2000, images: int = 400) -> float:
    """How often the true mean, 1 of the exponential law, lies within `width` half widths."""
    values = np.random.default_rng(0).exponential(size=(repeats, images))
    means, half_widths = mean_and_half_width(xr.DataArray(values, dims=("repeat", "image")), "image")
    assert means.shape == half_widths.shape == (repeats,)
    return float((abs(means - 1) <= width * half_widths).mean())


def test_the_interval_of_a_mean_covers_it():
    error = np.sqrt(0.95 * 0.05 / 2000)
    assert abs(coverage_of_the_mean() - 0.95) < 4 * error
    assert abs(coverage_of_the_mean(1 / Z) - 0.95) > 4 * error, "one standard error must be seen to be too short"


def test_z_is_the_point_that_95_percent_lie_within():
    assert stats.norm.cdf(Z) - stats.norm.cdf(-Z) == pytest.approx(0.95, abs=1e-15)


def test_the_half_width_of_a_mean_by_hand():
    values = xr.DataArray([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]], dims=("defense", "image"))
    means, half_widths = mean_and_half_width(values, "image")
    np.testing.assert_allclose(means, [2, 4])
    np.testing.assert_allclose(half_widths, [1.959963984540054 / np.sqrt(3), 0], rtol=1e-12)


def sample_pair(images: int = 60):
    """Two quantities of the same images, the first about twice the second."""
    rng = np.random.default_rng(1)
    below = rng.uniform(1, 100, size=images)
    return 2 * below + rng.exponential(10, size=images), below


def as_scipy_has_it(above, below, paired: bool):
    got = stats.bootstrap(
        (above, below),
        lambda one, other, axis: one.mean(axis) / other.mean(axis),
        n_resamples=RESAMPLES,
        paired=paired,
        method="percentile",
        rng=np.random.default_rng(7),
    )
    return got.confidence_interval.low, got.confidence_interval.high


def test_the_bootstrap_is_scipys_up_to_its_draws():
    """An end of 2,000 resamples strays by some 6 % of the standard error, √(0.025 · 0.975/2,000)/φ(Z)."""
    above, below = sample_pair()
    got = bootstrap(ratio_of_means, above, below, seed=3)
    assert got.value == above.mean() / below.mean()
    strays = (got.high - got.low) / (2 * Z) * np.sqrt(0.025 * 0.975 / RESAMPLES) / stats.norm.pdf(Z)
    tolerance = 4 * np.sqrt(2) * strays
    assert (got.low, got.high) == pytest.approx(as_scipy_has_it(above, below, paired=True), abs=tolerance)
    assert (got.low, got.high) != pytest.approx(as_scipy_has_it(above, below, paired=False), abs=tolerance)


def test_the_ends_lie_between_two_resampled_values_or_at_one():
    """Shares of 20 coins are multiples of 1/20: an end at a resampled one is too."""
    coins = (np.arange(20) < 7).astype(float)
    nearest = bootstrap(mean, coins, seed=0, ends="nearest")
    assert [20 * nearest.low, 20 * nearest.high] == pytest.approx([3, 11], abs=1.01)
    assert (20 * nearest.low) % 1 == pytest.approx(0, abs=1e-9)
    above, below = sample_pair()
    ends = [bootstrap(ratio_of_means, above, below, seed=0, ends=kind)[1:] for kind in ("nearest", "linear")]
    assert ends[0] == pytest.approx(ends[1], rel=0.01)
    assert ends[0] != ends[1]


def test_one_image_has_an_interval_without_width():
    assert bootstrap(ratio_of_means, np.array([6.0]), np.array([2.0]), seed=0) == (3, 3, 3)


@pytest.mark.parametrize("lengths", [(3, 4), (4, 3), (0, 0)])
def test_samples_that_are_not_paired_are_refused(lengths):
    with pytest.raises(ValueError, match="samples must be paired and not empty, got lengths"):
        bootstrap(ratio_of_means, *(np.ones(length) for length in lengths), seed=0)


def test_paired_difference_by_hand():
    ours, theirs = np.array([True] * 3 + [False] * 7), np.array([True] * 5 + [False] * 5)
    gap = difference_of_shares(ours, theirs, 0)
    assert gap.value == pytest.approx(-0.2)
    assert gap.low < -0.2 < gap.high <= 0  # of ten images two differ, both in our favour
    assert difference_of_shares(ours, ours, 0) == (0, 0, 0)


def test_paired_interval_has_the_width_of_its_standard_error():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(400) < 0.5, rng.random(400) < 0.5
    gap = difference_of_shares(ours, theirs, 0)
    error = (ours.astype(float) - theirs).std() / 20
    assert (gap.high - gap.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.07)


def test_ratio_of_medians_by_hand():
    theirs = np.linspace(1, 2, 51)
    ratio = ratio_of_medians(1.2 * theirs, theirs, 0)
    assert ratio == pytest.approx((1.2, 1.2, 1.2))
    assert ratio_of_medians(theirs, np.full(51, INF), 0).value == 0


def test_ratio_of_medians_where_almost_half_resisted():
    """An infinite end stays infinite; between two infinite values there would be none."""
    theirs = np.linspace(1, 2, 51)
    ours = np.where(np.arange(51) < 24, INF, theirs)
    ratio = ratio_of_medians(ours, theirs, 0)
    assert (np.isfinite(ratio.value), np.isfinite(ratio.low), ratio.high) == (True, True, INF)

    def medians(above, below):
        return np.median(above, axis=-1) / np.median(below, axis=-1)

    with np.errstate(invalid="ignore"):
        assert np.isnan(bootstrap(medians, ours, theirs, seed=0).high)
    assert np.isnan(ratio_of_medians(np.full(51, INF), np.full(51, INF), 0).value)


def has(module: str, program: str) -> bool:
    """Whether a fresh interpreter has that module after that program."""
    check = f"import sys; {program}; sys.exit('{module}' in sys.modules)"
    return subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False, timeout=120).returncode == 1


@pytest.mark.slow
def test_intervals_need_no_jax():
    assert not has("jax", "import sims.intervals")
    assert has("jax", "import sims.measurements.fresh_draws"), "the check must notice jax"


def test_scipys_statistics_are_imported_for_shares_alone():
    assert not has("scipy.stats", "import sims.intervals")
    assert has("scipy.stats", "from sims.intervals import share; share(1, 2)")
