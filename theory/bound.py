"""A statement as a record: formula, assumptions, source, and a derivation: each step proved, or cited as such."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import mpmath
import numpy as np
import sympy

from theory import evaluation
from theory.symbols import SYMBOLS


@dataclass(frozen=True)
class Assumption:
    """Something a statement takes for granted.

    text: in words.
    condition: a sympy relation between the statement's values, or None where no machine can check it. A free
        array index in it means *for every entry*.
    needed: whether the formula has no meaning where the condition fails, so that a call is refused there.
    """

    text: str
    condition: Any = None
    needed: bool = False


@dataclass(frozen=True)
class Step:
    """One step of a derivation: `left = right`, or `left ≤ right` where the relation says so.

    Both sides may hold unevaluated integrals, sums, derivatives and means; `holds` carries them out.
    reference: where a step that no machine checks here is proved; empty for a step that sympy proves.
    """

    text: str
    left: sympy.Basic
    right: sympy.Basic
    relation: Literal["=", "≤"] = "="
    reference: str = ""

    @property
    def standing(self) -> str:
        """Whether the step is proved here, or assumed and where it is proved."""
        return f"assumed, see {self.reference}" if self.reference else "proved"

    def holds(self) -> bool:
        """Return whether the relation is assumed, or sympy proves it for all admissible values of the symbols."""
        if self.reference:
            return True
        left, right = (side.doit() for side in _without_arrays(self.left, self.right))
        if self.relation == "=":
            return _vanishes(right - left)
        if _nonnegative(right - left):
            return True
        both_positive = left.is_nonnegative and right.is_nonnegative
        return bool(both_positive and _nonnegative(right**2 - left**2))

    def __str__(self) -> str:
        return f"{self.text}: {self.left} {self.relation} {self.right}"


def _without_arrays(*sides: sympy.Basic) -> list[Any]:
    """The sides with each sum over an array, and each entry apart, as a quantity of its own.

    This proves less, never more. A sum beside the same one without its last term is that one and this term.
    """
    whole = [sympy.sympify(side) for side in sides]
    for replacements in (_without_last_terms, _frozen_sums, _frozen_entries):
        quantities = replacements(whole)
        whole = [side.xreplace(quantities) for side in whole]
    return whole


def _array_sums(sides: Sequence[sympy.Basic]) -> set[Any]:
    return {one for side in sides for one in side.atoms(sympy.Sum) if one.has(sympy.Indexed)}


def _without_last_terms(sides: Sequence[sympy.Basic]) -> dict:
    sums, shorter = _array_sums(sides), {}
    for one in sums:
        ((place, first, last),) = one.limits
        rest = sympy.Sum(one.function, (place, first, last - 1))
        if last == first - 1:
            shorter[one] = sympy.S.Zero
        elif rest in sums:
            shorter[one] = rest + one.function.subs(place, last)
    return shorter


def _frozen_sums(sides: Sequence[sympy.Basic]) -> dict:
    return {one: sympy.Dummy(nonnegative=one.is_nonnegative) for one in _array_sums(sides)}


def _frozen_entries(sides: Sequence[sympy.Basic]) -> dict:
    return {one: sympy.Dummy(nonnegative=one.is_nonnegative) for side in sides for one in side.atoms(sympy.Indexed)}


def _vanishes(gap: sympy.Expr) -> bool:
    if _differs_somewhere(gap):
        return False
    if sympy.expand(gap) == 0 or sympy.expand(sympy.fraction(sympy.together(gap))[0]) == 0:
        return True
    return sympy.simplify(sympy.gammasimp(sympy.expand_func(gap))) == 0


def _differs_somewhere(gap: sympy.Expr) -> bool:
    """Whether the gap is seen not to vanish at a point: a wrong step is told at once, simplifying it takes minutes."""
    symbols = sorted(gap.free_symbols, key=str)
    point: Any = {s: 3 + 2 * i if s.is_integer else sympy.Rational(13 + 4 * i, 17) for i, s in enumerate(symbols)}
    value: Any = gap.subs(point).evalf(30)
    return bool(value.is_number and value.is_finite and abs(value) > 1e-12)


def _nonnegative(gap: sympy.Expr) -> bool:
    forms = (sympy.sympify, sympy.expand, sympy.factor, sympy.simplify, _from_one)
    return any(form(gap).is_nonnegative for form in forms)


def _from_one(gap: sympy.Expr) -> sympy.Expr:
    """The gap with every positive integer written as 1 + n, n ≥ 0: where a count's least value decides the sign."""
    counts = [symbol for symbol in gap.free_symbols if symbol.is_integer and symbol.is_positive]
    return sympy.expand(gap.xreplace({count: 1 + sympy.Dummy(nonnegative=True) for count in counts}))


@dataclass(frozen=True)
class Bound:
    """A statement of the theory, callable as a function of its values.

    label: its place in the catalogue, e.g. `E3-forward`.
    name: a short title.
    statement: the claim in one line, saying what `expr` bounds or equals.
    sense: whether `expr` bounds the measured quantity from above, from below, or equals it.
    status: `proven`, or `variant` for a recalled form that is tested and may fail.
    expr: sympy expression in the symbols of `theory.symbols`.
    assumptions: what it needs.
    source: where it comes from.
    steps: the derivation, built on demand.
    """

    label: str
    name: str
    statement: str
    sense: Literal["upper", "lower", "equality"]
    status: Literal["proven", "variant"]
    expr: sympy.Expr
    assumptions: tuple[Assumption, ...]
    source: str
    steps: Callable[[], Sequence[Step]]

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of the values it needs, in the symbol table's spelling and order."""
        return evaluation.parameters(self.expr)

    @cached_property
    def _float(self) -> Callable[..., Any]:
        return evaluation.float_function(self.expr, self.parameters)

    @cached_property
    def _exact(self) -> Callable[..., Any]:
        return evaluation.exact_function(self.expr, self.parameters)

    @cached_property
    def _conditions(self) -> tuple[tuple[Assumption, Callable[..., Any]], ...]:
        return tuple(
            (assumption, evaluation.float_function(assumption.condition, self.parameters))
            for assumption in self.assumptions
            if assumption.condition is not None
        )

    def _broken(self, arrays: Mapping[str, np.ndarray], needed: bool = False) -> tuple[str, ...]:
        """The texts of the machine-checkable assumptions, or only of the needed ones, that fail at checked values."""
        asked = [(one.text, holds) for one, holds in self._conditions if one.needed or not needed]
        arguments = evaluation.float_arguments(self.label, arrays)
        with np.errstate(all="ignore"):
            return tuple(text for text, holds in asked if not np.all(holds(*arguments)))

    def _require_meaning(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        if self._broken(arrays, needed=True):
            raise self._no_value(values)

    def __call__(self, **values: Any) -> float:
        """Return the value of the formula in float64.

        Raises ValueError for a missing, unknown or inadmissible value, where an assumption that the formula needs for
        its meaning does not hold, and where there is no finite value.
        """
        arrays = evaluation.checked_values(self.label, self.parameters, values)
        self._require_meaning(arrays, values)
        with np.errstate(all="ignore"):
            value = float(self._float(*evaluation.float_arguments(self.label, arrays)))
        if not np.isfinite(value):
            raise self._no_value(values)
        return value

    def exact(self, digits: int, **values: Any) -> Any:
        """Return the value as an mpmath.mpf of `digits` decimal digits; raises ValueError as a call does."""
        if isinstance(digits, bool) or not isinstance(digits, int) or digits < 1:
            raise ValueError(f"{self.label}: digits must be a positive integer, got {digits!r}")
        arrays = evaluation.checked_values(self.label, self.parameters, values)
        self._require_meaning(arrays, values)
        with mpmath.workdps(digits + 20):
            try:
                value = self._exact(*evaluation.exact_arguments(self.label, arrays, values))
            except ZeroDivisionError:
                raise self._no_value(values) from None
        if isinstance(value, mpmath.mpc) or not mpmath.isfinite(value):
            raise self._no_value(values)
        with mpmath.workdps(digits):
            return +mpmath.mpf(value)

    def violated(self, **values: Any) -> tuple[str, ...]:
        """Return the texts of the machine-checkable assumptions that do not hold at `values`."""
        arrays = evaluation.checked_values(self.label, self.parameters, values)
        return self._broken(arrays)

    def latex(self) -> str:
        """Return the formula in LaTeX, in the notation of the symbol table."""
        return latex(self.expr)

    def derivation(self) -> tuple[Step, ...]:
        """Return the steps of the derivation, each asserted unless it is cited, ending in the formula.

        Raises AssertionError, naming the step, where one fails, says nothing (left and right alike), or where the last
        one is not proved.
        """
        steps = tuple(self.steps())
        if not steps:
            raise AssertionError(f"{self.label}: the derivation has no steps")
        for number, step in enumerate(steps, 1):
            if step.left == step.right:
                raise AssertionError(f"{self.label}: step {number} says nothing: {step}")
            if not step.holds():
                raise AssertionError(f"{self.label}: step {number} does not hold: {step}")
        if steps[-1].reference:
            raise AssertionError(f"{self.label}: the last step must be proved, it is {steps[-1].standing}")
        conclusion = steps[-1].left if self.sense == "lower" else steps[-1].right
        if conclusion != self.expr:
            raise AssertionError(f"{self.label}: the derivation ends in {conclusion}, not in {self.expr}")
        return steps

    def _no_value(self, values: Mapping[str, Any]) -> ValueError:
        given = ", ".join(f"{name}={value!r}" for name, value in values.items())
        reasons = "; ".join(self.violated(**values)) or "values whose result fits into float64"
        return ValueError(f"{self.label}: no finite value at {given}; must satisfy: {reasons}")


def latex(expression: sympy.Basic) -> str:
    """Return any expression in LaTeX, in the notation of the symbol table."""
    notation = {
        quantity.symbol.label if isinstance(quantity.symbol, sympy.IndexedBase) else quantity.symbol: (
            quantity.notation
        )
        for quantity in SYMBOLS.values()
    }
    return sympy.latex(expression, symbol_names=notation)
