"""The expectation of a polynomial in random symbols, written out unevaluated and worked out by linearity."""

from collections.abc import Mapping
from typing import Any, cast

import sympy


def independent(*laws: Mapping[Any, Any]) -> dict[Any, Any]:
    """The law of all products of the monomials of independent groups: the mean of a product is that of the means."""
    joint: dict[Any, Any] = {sympy.S.One: sympy.S.One}
    for law in laws:
        entries = {sympy.S.One: sympy.S.One, **law}
        joint = {one * other: mean * theirs for one, mean in joint.items() for other, theirs in entries.items()}
    del joint[sympy.S.One]
    return joint


class Mean(sympy.Expr):
    """E[integrand] where the law of the random symbols is given by the means of the monomials that occur.

    integrand: polynomial in the random symbols.
    law: {monomial: its mean}; the random symbols are those of the monomials. A monomial that occurs in the
        expanded integrand and is not in the law is an error: nothing is silently taken to be zero.
    """

    is_commutative = True

    def __new__(cls, integrand: Any, law: Mapping[Any, Any] | sympy.Tuple) -> "Mean":
        """Build the unevaluated expectation; `law` a mapping, or the Tuple of pairs sympy rebuilds from."""
        pairs = law.items() if isinstance(law, Mapping) else cast(Any, law.args)
        entries: Any = sympy.Tuple(*(sympy.Tuple(sympy.sympify(key), sympy.sympify(value)) for key, value in pairs))
        return super().__new__(cls, sympy.sympify(integrand), entries)

    def doit(self, **hints: Any) -> sympy.Expr:
        """Return the expectation by linearity; raises ValueError for a monomial whose mean is not given."""
        integrand, entries = self.args
        table = {pair[0]: pair[1] for pair in entries}  # type: ignore[index, attr-defined]
        random = set().union(*(key.free_symbols for key in table))
        result = sympy.S.Zero
        for term in sympy.Add.make_args(sympy.expand(integrand.doit())):
            coefficient, monomial = term.as_independent(*random, as_Add=False)
            if monomial != 1 and monomial not in table:
                raise ValueError(f"the law must give the mean of {monomial}, it has {', '.join(map(str, table))}")
            result += coefficient * (1 if monomial == 1 else table[monomial].doit())
        return result

    @property
    def free_symbols(self) -> set:
        """Symbols of the value, without the random ones."""
        return self.doit().free_symbols

    def _latex(self, printer: Any) -> str:
        return rf"\mathbb{{E}}\left[{printer._print(self.args[0])}\right]"

    def _sympystr(self, printer: Any) -> str:
        return f"E[{printer._print(self.args[0])}]"
