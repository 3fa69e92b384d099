"""Powers and sums of a ratio near 1 against mpmath."""

from typing import Any

import mpmath
import pytest
import sympy

from theory.geometric import (
    exact_log_ratio,
    exact_partial_sum,
    exact_power,
    float_log_ratio,
    float_partial_sum,
    float_power,
    log_ratio,
    partial_sum,
    power,
    written_out,
)

TIMES = [0, 1, 7, 1000]


@pytest.mark.parametrize("c", [0.0, 1e-16, -1e-13, 1e-6, 0.3, 0.999, -0.4])
@pytest.mark.parametrize("t", TIMES)
def test_all_keep_their_digits_where_the_ratio_is_near_one(c, t):
    with mpmath.workdps(60):
        agree(c, 1 - mpmath.mpf(c), t)


@pytest.mark.parametrize("r", [1e-300, 1e-17, 1e-9, 0.3, 0.7])
@pytest.mark.parametrize("t", TIMES)
def test_all_keep_their_digits_where_the_ratio_is_near_zero(r, t):
    with mpmath.workdps(340):
        agree(1 - mpmath.mpf(r), mpmath.mpf(r), t)


def agree(c, ratio, t: int) -> None:
    """All three at that ratio and its complement, in float64 and exactly, against sums and powers written out."""
    terms = mpmath.fsum(ratio**k for k in range(t))
    near, small = float(c), float(ratio)
    assert exact_power(c, ratio, t) == ratio**t
    assert abs(exact_partial_sum(c, ratio, t) - terms) <= mpmath.mpf(10) ** -40 * (1 + terms)
    assert exact_log_ratio(c, ratio) == mpmath.log(ratio)
    assert abs(float_power(near, small, t) - ratio**t) <= 1e-12 * ratio**t + 1e-300
    assert abs(float_partial_sum(near, small, t) - terms) <= 1e-12 * terms
    assert abs(float_log_ratio(near, small) - mpmath.log(ratio)) <= 1e-12 * abs(mpmath.log(ratio))


def test_a_ratio_too_small_for_float64_counts_once():
    assert float_power(1.0, 0.0, 0) == 1
    assert float_partial_sum(1.0, 0.0, 3) == 1


def test_the_plain_formula_loses_them():
    """What the functions are there for: 1 − (1 − c)^t in float64 at a tiny c."""
    c, t = 1e-13, 7
    assert abs((1 - (1 - c) ** t) / c / t - 1) > 1e-5
    assert abs(float_partial_sum(c, 1 - c, t) / t - 1) < 1e-12


def test_written_out_they_are_the_formulas():
    c, r, t = sympy.symbols("c r t", positive=True)
    meanings = {power(c, r, t): r**t, partial_sum(c, r, t): (1 - r**t) / c, log_ratio(c, r): sympy.log(r)}
    for function, meaning in meanings.items():
        formula: Any = sympy.sympify(function)
        assert written_out(1 + formula) == 1 + meaning
    assert "sum" in sympy.latex(partial_sum(c, r, t))
