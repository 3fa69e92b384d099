"""The table of quantities that the statements speak about: spelling, symbol, meaning, admissible values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy


@dataclass(frozen=True)
class Domain:
    """A set of admissible values.

    text: what is allowed, as it appears in an error message.
    admits: float64 array -> whether every entry is allowed.
    assumptions: the same set in sympy's vocabulary.
    """

    text: str
    admits: Callable[[np.ndarray], bool]
    assumptions: dict[str, bool]


REAL = Domain("a finite number", lambda value: True, {"real": True})
POSITIVE = Domain("> 0", lambda value: bool(np.all(value > 0)), {"positive": True})
NONNEGATIVE = Domain(">= 0", lambda value: bool(np.all(value >= 0)), {"nonnegative": True})
COUNT = Domain(
    "a positive integer",
    lambda value: bool(np.all((value >= 1) & (value == np.floor(value)))),
    {"positive": True, "integer": True},
)
STEPS = Domain(
    "an integer >= 0",
    lambda value: bool(np.all((value >= 0) & (value == np.floor(value)))),
    {"nonnegative": True, "integer": True},
)


@dataclass(frozen=True)
class Quantity:
    """One quantity of the theory.

    name: its spelling as a keyword argument.
    symbol: a sympy Symbol, or an IndexedBase for an array.
    notation: LaTeX.
    meaning: one line of prose.
    domain: admissible values.
    at: dimension d -> the value that the self-check takes there; the assumptions of all statements hold at these.
    length: for an array, the name of the quantity that counts its entries; empty for a scalar.
    """

    name: str
    symbol: sympy.Symbol | sympy.IndexedBase
    notation: str
    meaning: str
    domain: Domain
    at: Callable[[int], Any]
    length: str = ""


Sample = float | Callable[[int], Any]
LONGEST_ARRAY = 3072  # of a sample, since mpmath adds its entries one by one


def _scalar(name: str, notation: str, meaning: str, domain: Domain, sample: Sample) -> Quantity:
    return Quantity(name, sympy.Symbol(name, **domain.assumptions), notation, meaning, domain, _at(sample))


def _array(name: str, notation: str, meaning: str, domain: Domain, sample: Sample, length: str) -> Quantity:
    base: Any = sympy.IndexedBase(sympy.Symbol(name, **domain.assumptions))
    return Quantity(name, base, notation, meaning, domain, _at(sample), length)


def _at(sample: Sample) -> Callable[[int], Any]:
    return sample if callable(sample) else lambda d: sample


def _ramp(d: int) -> np.ndarray:
    """min(d, LONGEST_ARRAY) entries from 0 up to, but not, 1."""
    entries = min(d, LONGEST_ARRAY)
    return np.arange(entries) / entries


def _step_size(d: int) -> float:
    """0.3 of the largest stable step for the steepest of the sampled curvatures and eight directions."""
    return 0.4 / (1 + (d + 1) / 8)


_QUANTITIES = (
    _scalar("d", "d", "input dimension", COUNT, lambda d: d),
    _scalar("q", "q", "directions per step", COUNT, 8),
    _scalar("mu", r"\mu", "smoothing radius", POSITIVE, 0.013),
    _scalar("L0", "L_0", "Lipschitz constant of the mean loss", POSITIVE, 2.5),
    _scalar("L1", "L_1", "Lipschitz constant of the gradient of the mean loss", POSITIVE, 0.8),
    _scalar("L0f", "L_0(f)", "Lipschitz constant of the victim's loss f", POSITIVE, 1.7),
    _scalar("L0m", "L_0(m)", "Lipschitz constant of every purifier m", POSITIVE, 0.9),
    _scalar(
        "V",
        "V",
        "loss-level variance of one query (its supremum over the queried points in a bound)",
        NONNEGATIVE,
        0.03,
    ),
    _scalar("nu", r"\nu", "worst-pair diversity", NONNEGATIVE, 0.6),
    _scalar("nu2", r"\nu_2", "root mean-square diversity over two independent draws", NONNEGATIVE, 0.4),
    _scalar("Delta", r"\Delta", "largest difference of the losses of two purifiers", NONNEGATIVE, 0.35),
    _scalar("K", "K", "number of purifiers", COUNT, 6),
    _scalar("P", "P", "number of patches", COUNT, 49),
    _scalar("eta", r"\eta", "step size", POSITIVE, _step_size),
    _scalar("h", "h", "curvature of an isotropic quadratic", POSITIVE, 0.7),
    _scalar("e0", "e_0", "squared distance to the minimiser at the start", NONNEGATIVE, 3e12),
    _scalar("e", "e", "squared distance to the minimiser that is to be reached", POSITIVE, 1e12),
    _scalar("t", "t", "steps taken", STEPS, 7),
    _scalar("eps", r"\varepsilon", "tolerance of the loss", POSITIVE, 0.7),
    _scalar("N", "N", "queries spent on one gradient estimate", COUNT, 20),
    _scalar("grad", r"\|\nabla\bar F\|", "norm of the gradient of the mean loss", NONNEGATIVE, 1.3),
    _scalar("grad2", r"\overline{\|a_k\|^2}", "mean squared norm of the members' gradients", NONNEGATIVE, 2.1),
    _scalar("grad_mu", r"\|\nabla\bar F_\mu\|", "norm of the gradient of the smoothed mean loss", NONNEGATIVE, 1.2),
    _scalar("tr", r"\operatorname{tr}H", "trace of the Hessian", REAL, lambda d: 0.3 * d),
    _scalar("tr2", r"\operatorname{tr}H^2", "trace of the squared Hessian", NONNEGATIVE, lambda d: 0.2 * d),
    _scalar("kappa", r"\kappa", "third derivative of the separable cubic along each axis", REAL, 1.9),
    _scalar("c", "c", "slope of the separable cubic along each axis at 0", REAL, 0.45),
    _scalar("M", "M_2", "second moment E‖g‖² of an estimate from one direction", NONNEGATIVE, lambda d: 1.44 * (d + 2)),
    _scalar("S", "S", "signal moment E[(difference of the mean losses)²‖u‖²]", NONNEGATIVE, 0.4),
    _scalar("W", "W", "noise moment E[V(x+μu)‖u‖²]", NONNEGATIVE, 0.06),
    _array("nu_p", r"\nu", "diversity of each patch", NONNEGATIVE, lambda d: 0.1 + 0.5 * _ramp(d), "P"),
    _array(
        "V_p", "V", "variance of each patch's effect on the loss", NONNEGATIVE, lambda d: 0.02 * (1 + _ramp(d)), "P"
    ),
    _array("h_i", "h", "eigenvalues of the Hessian", POSITIVE, lambda d: 0.2 + 1.3 * _ramp(d), "d"),
    _array("s_i", "s", "second moments E x_i² along the eigenvectors", NONNEGATIVE, lambda d: 2.0 - _ramp(d), "d"),
)

SYMBOLS: dict[str, Quantity] = {quantity.name: quantity for quantity in _QUANTITIES}

index = sympy.Symbol("i", integer=True, nonnegative=True)
"""The index of a sum over an array; free in a condition, it means *for every entry*."""


def symbols(names: str) -> tuple:
    """Return the sympy objects of space-separated quantity names: an array as its i-th entry."""
    return tuple(
        quantity.symbol[index] if isinstance(quantity.symbol, sympy.IndexedBase) else quantity.symbol
        for quantity in (SYMBOLS[name] for name in names.split())
    )


def total(term: sympy.Expr, count: sympy.Symbol) -> Any:
    """Return the sum of `term` over the array index, i = 0 .. count − 1.

    Keep sums unnested (a product of sums instead): each is then one pass over its arrays.
    """
    return sympy.Sum(term, (index, 0, count - 1))
