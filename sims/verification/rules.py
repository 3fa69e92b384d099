"""What the rows of a run must show together, beyond each holding for itself: that the checks see what they should."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import sympy

from sims.verification.check import Check, Row
from sims.verification.verdict import ROUNDING, SIGMAS
from theory import evaluation
from theory.bound import Bound

SEEN = 8.0  # standard errors at which a term of a formula stands out


def complaints(rows: Sequence[Row]) -> list[str]:
    """What is wrong with the certified rows as a whole, a line each; a variant may be violated, by what is known."""
    certified = [row for row in rows if row.check.certified]
    proven, variants = ([row for row in certified if row.bound.status == kind] for kind in ("proven", "variant"))
    strange = [row.check for row in variants if row.verdict.strange]
    return [
        *(f"{check.label}: on {check.instance} it is not where it is known to be" for check in strange),
        *_unseen_terms(proven),
        *_always_reached(proven),
        *_wrong_errors(proven),
    ]


def mean_square_deviation(rows: Iterable[Row]) -> tuple[float, int]:
    """Mean of ((measured − expected)/SE)² over the rows whose value is known exactly, near 1, and their number.

    Rows whose error is below that of float32 arithmetic do not count.
    """
    deviations = [
        (row.measured.value - row.expected) / row.measured.standard_error
        for row in rows
        if row.expected is not None and row.measured.standard_error > ROUNDING * abs(row.limit)
    ]
    return (float(np.mean(np.square(deviations))) if deviations else math.nan), len(deviations)


def _wrong_errors(rows: Sequence[Row]) -> Iterator[str]:
    """Standard errors that are not those of the measurements: then the deviations are not of size 1."""
    mean, count = mean_square_deviation(rows)
    if count and abs(mean - 1) > SIGMAS * math.sqrt(2 / count):
        yield f"standard errors are wrong: {count} deviations from known values have the mean square {mean:.3g}, not 1"


def _always_reached(rows: Sequence[Row]) -> Iterator[str]:
    """A bound that every row reaches: it might be an equality, and no row sees whether its sense is right."""
    reached: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row.bound.sense != "equality":
            reached[row.check.label].append(row.verdict.tight)
    yield from (f"{label}: the bound is reached on every row" for label, tight in reached.items() if all(tight))


def _unseen_terms(rows: Sequence[Row]) -> Iterator[str]:
    """Additive terms of a formula that could be left out and no row would see it."""
    seen: dict[str, np.ndarray] = {}
    for row in rows:
        if row.expected is not None:
            sizes = _term_sizes(row)
            seen[row.check.label] = np.maximum(seen.get(row.check.label, 0), sizes)
    bounds = {row.check.label: row.bound for row in rows}
    for label, sizes in seen.items():
        for term, size in zip(terms(bounds[label]), sizes, strict=True):
            if size < SEEN:
                yield f"{label}: the term {term} stands at {size:.1f} standard errors at most, it needs {SEEN:g}"
    for label in bounds.keys() - seen.keys():
        yield f"{label}: no row has a value that is known exactly"


def terms(bound: Bound) -> tuple[sympy.Expr, ...]:
    """The additive terms of a formula, multiplied out."""
    return sympy.Add.make_args(sympy.expand(bound.expr))


def _term_sizes(row: Row) -> np.ndarray:
    """How many standard errors of the row each term is worth."""
    share = 1.0 if row.expected is None else row.expected / row.limit
    values = np.array([_value(term, row.check) for term in terms(row.bound)])
    error = max(row.measured.standard_error, 1e-12 * abs(row.limit))
    return np.abs(share * values) / error


def _value(term: sympy.Expr, check: Check) -> float:
    names = [name for name in evaluation.parameters(term) if name in check.values]
    lengths = {name: check.values[name] for name in names}
    arrays = evaluation.checked_values(check.label, names, lengths)
    function: Any = evaluation.float_function(term, names)
    return float(function(*evaluation.float_arguments(check.label, arrays)))
