"""The self-check of the catalogue: all derivations, and float64 against mpmath up to ImageNet's d."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from theory.bound import Bound

DIMENSIONS = (1, 2, 12, 64, 784, 3072, 150528)
TOLERANCE = 1e-10

_LONGEST_ARRAY = 3072
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

    dimension: d ≥ 1; arrays have min(d, 3072) entries, since mpmath adds them one by one.
    """
    d, q, h = dimension, 8, 0.7
    entries = np.arange(min(d, _LONGEST_ARRAY)) / min(d, _LONGEST_ARRAY)
    return {
        **{
            "d": d,
            "q": q,
            "mu": 0.013,
            "L0": 2.5,
            "L1": 0.8,
            "L0f": 1.7,
            "L0m": 0.9,
            "V": 0.03,
            "nu": 0.6,
            "nu2": 0.4,
        },
        **{"Delta": 0.35, "K": 6, "P": 49, "h": h, "eta": 0.6 / (1.5 * (1 + (d + 1) / q)), "t": 7, "N": 20},
        **{"e0": 3e12, "e": 1e12, "eps": 0.7, "grad": 1.3, "grad_mu": 1.2, "M": 1.44 * (d + 2), "S": 0.4, "W": 0.06},
        **{"tr": 0.3 * d, "tr2": 0.2 * d, "c": 0.45, "kappa": 1.9},
        **{
            "nu_p": 0.1 + 0.5 * entries,
            "V_p": 0.02 * (1 + entries),
            "h_i": 0.2 + 1.3 * entries,
            "s_i": 2.0 - entries,
        },
    }


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
