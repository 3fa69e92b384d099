"""Powers and sums of the ratio 1 − c of a geometric sequence, accurate in float64 where c is tiny, and at c = 0."""

from typing import Any

import mpmath
import numpy as np
import sympy


class power(sympy.Function):
    """(1 − c)^t, c < 1; `doit` writes it out."""

    nargs = 2

    def doit(self, **hints: Any) -> sympy.Expr:
        """Return (1 − c)^t."""
        c, t = self.args
        return (1 - c) ** t  # type: ignore[operator]

    def _latex(self, printer: Any) -> str:
        c, t = map(printer._print, self.args)
        return rf"\left(1 - \left({c}\right)\right)^{{{t}}}"


class partial_sum(sympy.Function):
    """1 + (1 − c) + … + (1 − c)^{t−1} = (1 − (1 − c)^t)/c, c < 1, and t at c = 0; `doit` writes the fraction out."""

    nargs = 2

    def doit(self, **hints: Any) -> sympy.Expr:
        """Return (1 − (1 − c)^t)/c."""
        c, t = self.args
        return (1 - (1 - c) ** t) / c  # type: ignore[operator]

    def _latex(self, printer: Any) -> str:
        c, t = map(printer._print, self.args)
        return rf"\sum_{{k<{t}}}\left(1 - \left({c}\right)\right)^k"


def float_power(c: float, t: float) -> float:
    """Return (1 − c)^t in float64."""
    return float(np.exp(t * np.log1p(-c)))


def float_partial_sum(c: float, t: float) -> float:
    """Return the sum of the first t powers of 1 − c in float64."""
    return float(t) if c == 0 else float(-np.expm1(t * np.log1p(-c)) / c)


def exact_power(c: Any, t: Any) -> Any:
    """Return (1 − c)^t at mpmath's working precision."""
    return (1 - mpmath.mpf(c)) ** t


def exact_partial_sum(c: Any, t: Any) -> Any:
    """Return the sum of the first t powers of 1 − c at mpmath's working precision."""
    return mpmath.mpf(t) if c == 0 else (1 - (1 - mpmath.mpf(c)) ** t) / c
