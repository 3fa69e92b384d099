"""Γ((n+1)/2)/Γ(n/2), the ratio behind every mean norm of a Gaussian vector, accurate in float64 at any n."""

import math
from typing import Any

import mpmath
import sympy

_SERIES = (1.0, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144)


class gamma_ratio(sympy.Function):
    """Γ((n+1)/2)/Γ(n/2) as a symbolic function of n > 0; `doit` writes it out in Γ functions."""

    nargs = 1

    def doit(self, **hints: Any) -> sympy.Expr:
        """Return the ratio in terms of sympy's gamma."""
        (n,) = self.args
        return sympy.gamma((n + 1) / 2) / sympy.gamma(n / 2)  # type: ignore[operator]

    def _eval_is_positive(self) -> bool | None:
        return self.args[0].is_positive

    def _latex(self, printer: Any) -> str:
        n = printer._print(self.args[0])
        return rf"\frac{{\Gamma(({n}+1)/2)}}{{\Gamma({n}/2)}}"


def float_gamma_ratio(n: float) -> float:
    """Return Γ((n+1)/2)/Γ(n/2) in float64 to a few units in the last place.

    Above n = 100 the series in 1/x, x = n/2, of Γ(x+½)/(Γ(x)√x) (its next term is below 1e-14); the
    difference of two log-gammas below, where it loses nothing.
    """
    if n <= 100:
        return math.exp(math.lgamma((n + 1) / 2) - math.lgamma(n / 2))
    x = n / 2
    correction = 0.0
    for coefficient in reversed(_SERIES):
        correction = correction / x + coefficient
    return math.sqrt(x) * correction


def exact_gamma_ratio(n: Any) -> Any:
    """Return Γ((n+1)/2)/Γ(n/2) at mpmath's working precision."""
    n = mpmath.mpf(n)
    return mpmath.gamma((n + 1) / 2) / mpmath.gamma(n / 2)
