"""What the rows of a run must show together, beyond each holding for itself: that the checks see what they should."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sympy
from scipy.stats import chi2, norm

from sims.verification.check import Row
from sims.verification.verdict import ROUNDING, SIGMAS
from theory import evaluation
from theory.geometric import written_out

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
    tail = norm.sf(SIGMAS)
    if count and not chi2.isf(1 - tail, count) <= count * mean <= chi2.isf(tail, count):
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
            sizes = _term_sizes(row, row.expected / row.limit)
            seen[row.check.label] = np.maximum(seen.get(row.check.label, 0), sizes)
    bounds = {row.check.label: row.bound for row in rows}
    for label, sizes in seen.items():
        for term, size in zip(terms(bounds[label].expr), sizes, strict=True):
            if size < SEEN:
                yield f"{label}: the term {term.name} stands at {size:.1f} standard errors at most, it needs {SEEN:g}"
    for label in bounds.keys() - seen.keys():
        yield f"{label}: no row has a value that is known exactly"


class Term(NamedTuple):
    """A summand, with the sum it belongs to where that is not all of the formula, and the formula without it."""

    name: str
    without: sympy.Expr


@cache
def terms(formula: sympy.Expr) -> tuple[Term, ...]:
    """The terms of a formula that is multiplied out, and those of every sum that it has within it as it is written."""
    written = written_out(formula)
    whole: Any = sympy.expand(written)
    outer = [Term(str(summand), whole - summand) for summand in sympy.Add.make_args(whole)]
    lengths = {edge for one in written.atoms(sympy.Sum) for limit in one.limits for edge in limit}
    inner = [
        Term(f"{summand} of {node}", written.xreplace({node: node - summand}))
        for node in sorted(written.atoms(sympy.Add) - lengths - {written}, key=str)
        for summand in node.args
    ]
    return (*outer, *inner)


@cache
def _without_terms(formula: sympy.Expr, names: tuple[str, ...]) -> Callable[..., Any]:
    """The formula without each of its terms in turn, as a function of the named values."""
    return evaluation.float_function(sympy.Tuple(*(term.without for term in terms(formula))), names)


def _term_sizes(row: Row, share: float) -> np.ndarray:
    """How many standard errors of the row each term is worth; a formula that is no number without it, infinitely many.

    share: expected / bound.
    """
    label, names = row.check.label, row.bound.parameters
    arrays = evaluation.checked_values(label, names, row.check.values)
    error = row.measured.standard_error + ROUNDING / SIGMAS * abs(row.limit)  # as in the verdict on the row
    with np.errstate(all="ignore"):
        values = np.array(_without_terms(row.bound.expr, names)(*evaluation.float_arguments(label, arrays)), complex)
        sizes = abs(share * (row.limit - values)) / error
    return np.where(np.isfinite(values) & np.isreal(values), sizes, math.inf)
