"""All statements by label, in the order of the theory."""

import difflib
from importlib import import_module

from theory.bound import Bound

SECTIONS = (
    "smoothing",
    "estimator_means",
    "second_moments",
    "quadratic_moments",
    "moment_bounds",
    "recalled_forms",
    "crossover",
    "patches",
    "pools",
    "identification",
    "quadratic_descent",
    "diagonal_descent",
    "best_response",
)
"""The files of `theory.statements`, each with its `BOUNDS`; the checks of a section lie in a file of the same name."""

CATALOGUE: dict[str, Bound] = {
    bound.label: bound for section in SECTIONS for bound in import_module(f"theory.statements.{section}").BOUNDS
}


def find(label: str) -> Bound:
    """Return the statement of that label; ValueError lists the nearest labels, or all where none is near."""
    if label in CATALOGUE:
        return CATALOGUE[label]
    near = difflib.get_close_matches(str(label), CATALOGUE, n=5, cutoff=0.5)
    raise ValueError(f"statement must be one of {', '.join(near or CATALOGUE)}, got {label!r}")
