"""Powers, sums and logarithm of the ratio r of a geometric sequence, accurate in float64 for any r > 0, r = 1 included.

r is given twice, as itself and as c = 1 − r, each written so that it keeps its digits where it is small.
"""

from typing import Any

import mpmath
import numpy as np
import sympy


class log_ratio(sympy.Function):
    """ln r; `doit` writes it out."""

    nargs = 2

    def doit(self, **hints: Any) -> sympy.Expr:
        """Return ln r."""
        _, r = self.args
        return sympy.log(r)

    def _latex(self, printer: Any) -> str:
        return rf"\ln\left({printer._print(self.args[1])}\right)"


class power(sympy.Function):
    """r^t; `doit` writes it out."""

    nargs = 3

    def doit(self, **hints: Any) -> sympy.Expr:
        """Return r^t."""
        _, r, t = self.args
        return r**t  # type: ignore[operator]

    def _latex(self, printer: Any) -> str:
        _, r, t = map(printer._print, self.args)
        return rf"\left({r}\right)^{{{t}}}"


class partial_sum(sympy.Function):
    """1 + r + … + r^{t−1} = (1 − r^t)/c, and t at c = 0; `doit` writes the fraction out."""

    nargs = 3

    def doit(self, **hints: Any) -> sympy.Expr:
        """Return (1 − r^t)/c."""
        c, r, t = self.args
        return (1 - r**t) / c  # type: ignore[operator]

    def _latex(self, printer: Any) -> str:
        _, r, t = map(printer._print, self.args)
        return rf"\sum_{{k<{t}}}\left({r}\right)^k"


def written_out(formula: sympy.Expr) -> Any:
    """Return the formula with these three functions written out."""
    return formula.xreplace({one: one.doit() for one in formula.atoms(log_ratio, power, partial_sum)})


def float_log_ratio(c: float, r: float) -> float:
    """Return ln r in float64."""
    return float(np.log(r) if _is_small(r) else np.log1p(-c))


def float_power(c: float, r: float, t: float) -> float:
    """Return r^t in float64."""
    return float(r**t if _is_small(r) else np.exp(t * np.log1p(-c)))


def float_partial_sum(c: float, r: float, t: float) -> float:
    """Return the sum of the first t powers of r in float64."""
    if c == 0:
        return float(t)
    return float((1 - r**t if _is_small(r) else -np.expm1(t * np.log1p(-c))) / c)


def _is_small(r: float) -> bool:
    """Whether r itself, and not 1 − r, has the digits."""
    return r < 0.5


def exact_log_ratio(c: Any, r: Any) -> Any:
    """Return ln r at mpmath's working precision."""
    return mpmath.log(r)


def exact_power(c: Any, r: Any, t: Any) -> Any:
    """Return r^t at mpmath's working precision."""
    return mpmath.mpf(r) ** t


def exact_partial_sum(c: Any, r: Any, t: Any) -> Any:
    """Return the sum of the first t powers of r at mpmath's working precision."""
    return mpmath.mpf(t) if c == 0 else (1 - mpmath.mpf(r) ** t) / c
