"""All statements by label, in the order of the theory."""

import difflib

from theory.bound import Bound
from theory.statements import (
    best_response,
    crossover,
    diagonal_descent,
    estimator_means,
    moment_bounds,
    patches,
    pools,
    quadratic_descent,
    quadratic_moments,
    recalled_forms,
    second_moments,
    smoothing,
)

_SECTIONS = (
    smoothing,
    estimator_means,
    second_moments,
    quadratic_moments,
    moment_bounds,
    recalled_forms,
    crossover,
    patches,
    pools,
    quadratic_descent,
    diagonal_descent,
    best_response,
)

CATALOGUE: dict[str, Bound] = {bound.label: bound for section in _SECTIONS for bound in section.BOUNDS}


def find(label: str) -> Bound:
    """Return the statement of that label; ValueError lists the nearest labels, or all where none is near."""
    if label in CATALOGUE:
        return CATALOGUE[label]
    near = difflib.get_close_matches(str(label), CATALOGUE, n=5, cutoff=0.5)
    raise ValueError(f"statement must be one of {', '.join(near or CATALOGUE)}, got {label!r}")
