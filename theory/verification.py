"""The self-check of the catalogue: all derivations, and float64 against mpmath up to ImageNet's d."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mpmath

from theory.bound import Bound
from theory.symbols import SYMBOLS

DIMENSIONS = (1, 2, 12, 64, 784, 3072, 150528)
TOLERANCE = 1e-10

_DIGITS = 40


@dataclass(frozen=True)
class Finding:
    """The outcome of checking one statement.

    label: the statement.
    steps: number of derivation steps asserted.
    relative_error: largest relative difference of float64 from mpmath over the dimensions tried.
    failure: empty, or what went wrong.
    """

    label: str
    steps: int
    relative_error: float
    failure: str


def sample(dimension: int) -> dict[str, Any]:
    """Return a value for every quantity, at which the machine-checkable assumptions of all statements hold.

    dimension: d ≥ 1; arrays have at most LONGEST_ARRAY entries.
    """
    return {name: quantity.at(dimension) for name, quantity in SYMBOLS.items()}


def relative_error(bound: Bound, values: Mapping[str, Any]) -> float:
    """Return |float64 − mpmath| / |mpmath| of a statement at `values`."""
    exact = bound.exact(_DIGITS, **values)
    with mpmath.workdps(_DIGITS):
        return float(abs(mpmath.mpf(bound(**values)) - exact) / max(abs(exact), mpmath.mpf(10) ** -300))


def check(bound: Bound) -> Finding:
    """Assert the derivation of a statement and compare its float64 value with mpmath at every dimension."""
    steps, worst = 0, 0.0
    try:
        steps = len(bound.derivation())
        for dimension in DIMENSIONS:
            values = {name: value for name, value in sample(dimension).items() if name in bound.parameters}
            if violated := bound.violated(**values):
                raise ValueError(f"{bound.label}: the sample at d = {dimension} violates: {'; '.join(violated)}")
            worst = max(worst, relative_error(bound, values))
        if worst > TOLERANCE:
            raise AssertionError(f"{bound.label}: float64 is off by {worst:.1e} relative, allowed {TOLERANCE:.0e}")
    except (AssertionError, ValueError) as error:
        return Finding(bound.label, steps, worst, str(error))
    return Finding(bound.label, steps, worst, "")
