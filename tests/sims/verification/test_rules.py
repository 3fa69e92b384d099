"""What rows must show together: terms that stand out, bounds that are not always reached, errors that are true."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from sims.experiments.verify import certified_checks
from sims.measurements.streaming import Estimate
from sims.verification import smoothing
from sims.verification.check import Check, judged
from sims.verification.rules import complaints, mean_square_deviation, terms
from sims.verification.verdict import FAILING, judge
from sims.victims.objectives import Objective, cone
from theory.bound import Bound
from theory.catalogue import CATALOGUE, find

VALUES = {"d": 12, "mu": 0.4, "V": 0.25, "grad": 1.0}


def rows(bound: Bound, error: float, known: float | None = None, count: int = 200, spread: float = 1.0):
    """Measurements of E3-antithetic around its value, off by `spread` of their relative error."""
    check = Check("E3-antithetic", "made", VALUES, lambda key: Estimate(0, 0), known)
    limit = bound(**VALUES)
    noise = np.random.default_rng(0).normal(size=count)
    return [judged(check, Estimate(limit * (1 + spread * error * z), limit * error), bound) for z in noise]


def test_honest_rows_have_nothing_to_complain_of():
    assert complaints(rows(find("E3-antithetic"), 0.001)) == []


@pytest.mark.parametrize("spread", [1 / 3, 3.0])
def test_errors_that_are_too_large_or_too_small_are_noticed(spread):
    (line,) = complaints(rows(find("E3-antithetic"), 0.001, spread=spread))
    assert line.startswith("standard errors are wrong: 200 deviations from known values have the mean square")


def test_a_term_below_eight_errors_is_named():
    """2‖a‖² is 2 of 23.4: worth 8.5 errors of one per cent, and 4.3 of two."""
    assert complaints(rows(find("E3-antithetic"), 0.01)) == []
    lines = complaints(rows(find("E3-antithetic"), 0.02))
    terms = "2*grad**2", "2 of d + 2"
    assert lines == [
        f"E3-antithetic: the term {one} stands at 4.3 standard errors at most, it needs 8" for one in terms
    ]


def test_a_bound_that_every_row_reaches_is_named():
    bound = replace(find("E3-antithetic"), sense="upper")
    assert complaints(rows(bound, 0.001, 1.0)) == ["E3-antithetic: the bound is reached on every row"]


def test_a_bound_of_which_no_row_knows_the_value_is_named():
    bound = replace(find("E3-antithetic"), sense="upper")
    lines = complaints(rows(bound, 0.001))
    assert "E3-antithetic: no row has a value that is known exactly" in lines


def test_errors_of_arithmetic_are_no_deviations():
    one = rows(find("E3-antithetic"), 1e-9, count=3)
    assert mean_square_deviation(one)[1] == 0


@pytest.mark.parametrize("count", [1, 3, 30])
def test_few_deviations_may_be_as_large_as_chance_makes_them(count):
    """Sums of `count` squares are drawn ten thousand times: not one is beyond what 4 standard errors allow."""
    bound, draws = find("E3-antithetic"), np.random.default_rng(0).normal(size=(10_000, count))
    check, limit = Check("E3-antithetic", "made", VALUES, lambda key: Estimate(0, 0)), bound(**VALUES)
    sizes = np.sqrt(np.mean(draws**2, axis=1))
    for size, complained in ((sizes.min(), False), (sizes.max(), False), (1.5 * max(sizes.max(), 4), True)):
        made = [judged(check, Estimate(limit * (1 + 0.001 * size), 0.001 * limit), bound) for _ in range(count)]
        assert any("standard errors are wrong" in line for line in complaints(made)) == complained


def test_the_terms_are_multiplied_out_and_those_of_sums_within_are_among_them():
    """(d+2)‖a‖² + (μ²/4)(d+4)(tr² + 2tr H²) + 2dV/μ²: 2 + 4 + 1 terms, and two of each of three factors."""
    assert len(terms(find("E3-forward").expr)) == 7 + 6
    assert [term.name for term in terms(find("E7-forward").expr)][1:] == ["1 of d + 1", "d of d + 1"]
    time = {term.name.split(" of ")[-1] for term in terms(find("C1-time-antithetic").expr)}
    assert {"d + 1", "1 + (d + 1)/q", "-eta*h + 1"} < time
    assert all(" of d - 1" not in term.name for term in terms(find("C1-step-antithetic").expr))


@pytest.mark.parametrize(
    ("sense", "measured", "known", "word"),
    [
        ("upper", 1.0, 1.0, "tight"),
        ("upper", 0.9, 1.0, "not where it is known to be"),
        ("upper", 0.9, 0.9, "holds"),
        ("upper", 0.9, None, "holds"),
        ("upper", 1.1, 1.0, "violated"),
        ("lower", 0.9, None, "violated"),
        ("equality", 0.99, None, "violated"),
    ],
)
def test_a_row_is_judged_by_the_share_it_is_known_to_reach(sense, measured, known, word):
    verdict = judge(sense, Estimate(measured, 0.001), 1.0, known)
    assert verdict.word == word
    assert verdict.holds == (word not in FAILING)


def test_every_statement_has_a_row_in_a_quick_run_and_a_known_value():
    """`complaints` needs the rows to be measured: this is what can be told before."""
    quick = [check for check in certified_checks() if not check.slow]
    assert {check.label for check in quick} == set(CATALOGUE)
    known = {check.label for check in quick if check.known is not None}
    assert known >= {label for label, bound in CATALOGUE.items() if bound.sense != "equality"}


def test_the_gradient_bias_is_within_half_of_its_bound_somewhere():
    known = [check.known for check in certified_checks() if check.label == "S2-gradient"]
    assert max(share for share in known if share is not None) >= 0.45


def test_a_shift_downwards_counts_as_much_as_one_upwards():
    up = cone(12, 1.5)
    down = Objective("well", 12, up.constants, _negative_cone, up.slope, 1.5, np.inf)
    shifts = [
        smoothing.value_shift(one, np.zeros(12, np.float32), 0.3, 4000, 2000)(jax.random.key(0)) for one in (up, down)
    ]
    assert shifts[0] == shifts[1]
    assert shifts[0].value > 0


def _negative_cone(constants, points):
    return -cone(12, 1.0).formula(constants, points)
