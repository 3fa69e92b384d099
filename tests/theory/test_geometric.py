"""Powers and sums of a ratio near 1 against mpmath."""

import mpmath
import pytest
import sympy

from theory.geometric import exact_partial_sum, exact_power, float_partial_sum, float_power, partial_sum, power


@pytest.mark.parametrize("c", [0.0, 1e-16, -1e-13, 1e-6, 0.3, 0.999, -0.4])
@pytest.mark.parametrize("t", [0, 1, 7, 1000])
def test_both_keep_their_digits(c, t):
    with mpmath.workdps(60):
        ratio = 1 - mpmath.mpf(c)
        terms = mpmath.fsum(ratio**k for k in range(t))
        assert abs(exact_power(c, t) - ratio**t) == 0
        assert abs(exact_partial_sum(c, t) - terms) <= mpmath.mpf(10) ** -40 * (1 + terms)
        assert abs(float_power(c, t) - ratio**t) <= 1e-12 * ratio**t + 1e-300
        assert abs(float_partial_sum(c, t) - terms) <= 1e-12 * terms


def test_the_plain_formula_loses_them():
    """What the functions are there for: 1 − (1 − c)^t in float64 at a tiny c."""
    c, t = 1e-13, 7
    assert abs((1 - (1 - c) ** t) / c / t - 1) > 1e-5
    assert abs(float_partial_sum(c, t) / t - 1) < 1e-12


def test_written_out_they_are_the_formulas():
    c, t = sympy.symbols("c t", positive=True)
    assert sympy.sympify(power(c, t)).doit() == (1 - c) ** t
    assert sympy.sympify(partial_sum(c, t)).doit() == (1 - (1 - c) ** t) / c
    assert "sum" in sympy.latex(partial_sum(c, t))
