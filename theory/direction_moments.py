"""Exact moments E[u₁^{a₁}⋯u_k^{a_k}‖u‖^{2b}] of the four laws of query directions, in any dimension d.

All four laws have E uuᵀ = I, so they share one smoothing radius: N(0, I), the uniform law on the sphere of
radius √d, Rademacher signs, and ±√d e_I with I uniform (coordinate directions). An odd power makes the moment
vanish in all of them.
"""

from collections.abc import Sequence

import sympy

from theory.symbols import symbols

(d,) = symbols("d")


def gaussian(powers: Sequence[int], norm_power: int = 0) -> sympy.Expr:
    """Return the moment under N(0, I_d).

    powers: a₁, …, a_k, one per distinct coordinate; norm_power: b.
    Weighting by u_i^{a_i} turns ‖u‖² from χ²_d into χ²_{d+Σa}: ∏(a_i−1)!! · ∏_{j<b}(d + Σa + 2j).
    """
    if any(power % 2 for power in powers):
        return sympy.S.Zero
    odd_factorials = sympy.Mul(*(sympy.factorial2(power - 1) for power in powers if power))
    return odd_factorials * sympy.Mul(*(d + sum(powers) + 2 * j for j in range(norm_power)))


def sphere(powers: Sequence[int], norm_power: int = 0) -> sympy.Expr:
    """Return the moment under the uniform law on ‖u‖ = √d: the Gaussian one without its radius."""
    half_degree = sum(powers) // 2
    return d**norm_power * d**half_degree * gaussian(powers) / gaussian((), half_degree)


def rademacher(powers: Sequence[int], norm_power: int = 0) -> sympy.Expr:
    """Return the moment under independent signs."""
    return sympy.S.Zero if any(power % 2 for power in powers) else d**norm_power


def coordinate(powers: Sequence[int], norm_power: int = 0) -> sympy.Expr:
    """Return the moment under u = ±√d e_I: two different coordinates are never both non-zero."""
    present = [power for power in powers if power]
    if len(present) > 1 or any(power % 2 for power in present):
        return sympy.S.Zero
    return d**norm_power * (d ** sympy.Rational(present[0], 2) / d if present else 1)


def gaussian_by_generating_function(powers: Sequence[int], norm_power: int = 0) -> sympy.Expr:
    """Return the same moment as `gaussian`, unevaluated, as derivatives at 0 of E exp(s‖u‖² + Σ t_i u_i²).

    powers: even. The generating function is (1−2s)^{−(d−k)/2} ∏(1−2s−2t_i)^{−1/2}: a route that shares
    nothing with the closed form, used to assert it.
    """
    s = sympy.Symbol("s", real=True)
    marks = [sympy.Symbol(f"t{number}", real=True) for number in range(1, len(powers) + 1)]
    function = (1 - 2 * s) ** (-(d - len(powers)) / 2)
    for mark in marks:
        function *= (1 - 2 * s - 2 * mark) ** sympy.Rational(-1, 2)
    orders = [(mark, power // 2) for mark, power in zip(marks, powers, strict=True) if power]
    orders += [(s, norm_power)] if norm_power else []
    at_zero = (s, *marks), (0,) * (1 + len(marks))
    return sympy.Subs(sympy.Derivative(function, *orders), *at_zero)  # type: ignore[arg-type]
