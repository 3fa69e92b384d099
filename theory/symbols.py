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
    length: for an array, the name of the quantity that counts its entries; empty for a scalar.
    """

    name: str
    symbol: sympy.Symbol | sympy.IndexedBase
    notation: str
    meaning: str
    domain: Domain
    length: str = ""


def _scalar(name: str, notation: str, meaning: str, domain: Domain) -> Quantity:
    return Quantity(name, sympy.Symbol(name, **domain.assumptions), notation, meaning, domain)


def _array(name: str, notation: str, meaning: str, domain: Domain, length: str) -> Quantity:
    base: Any = sympy.IndexedBase(sympy.Symbol(name, **domain.assumptions))
    return Quantity(name, base, notation, meaning, domain, length)


_QUANTITIES = (
    _scalar("d", "d", "input dimension", COUNT),
    _scalar("q", "q", "directions per step", COUNT),
    _scalar("mu", r"\mu", "smoothing radius", POSITIVE),
    _scalar("L0", "L_0", "Lipschitz constant of the mean loss", POSITIVE),
    _scalar("L1", "L_1", "Lipschitz constant of the gradient of the mean loss", POSITIVE),
    _scalar("L0f", "L_0(f)", "Lipschitz constant of the victim's loss f", POSITIVE),
    _scalar("L0m", "L_0(m)", "Lipschitz constant of every purifier m", POSITIVE),
    _scalar(
        "V",
        "V",
        "loss-level variance of one query (its supremum over the queried points in a bound)",
        NONNEGATIVE,
    ),
    _scalar("nu", r"\nu", "worst-pair diversity", NONNEGATIVE),
    _scalar("nu2", r"\nu_2", "root mean-square diversity over two independent draws", NONNEGATIVE),
    _scalar("Delta", r"\Delta", "largest difference of the losses of two purifiers", NONNEGATIVE),
    _scalar("K", "K", "number of purifiers", COUNT),
    _scalar("P", "P", "number of patches", COUNT),
    _scalar("eta", r"\eta", "step size", POSITIVE),
    _scalar("h", "h", "curvature of an isotropic quadratic", POSITIVE),
    _scalar("e0", "e_0", "squared distance to the minimiser at the start", NONNEGATIVE),
    _scalar("e", "e", "squared distance to the minimiser that is to be reached", POSITIVE),
    _scalar("t", "t", "steps taken", STEPS),
    _scalar("eps", r"\varepsilon", "tolerance of the loss", POSITIVE),
    _scalar("N", "N", "queries spent on one gradient estimate", COUNT),
    _scalar("grad", r"\|\nabla\bar F\|", "norm of the gradient of the mean loss", NONNEGATIVE),
    _scalar("grad_mu", r"\|\nabla\bar F_\mu\|", "norm of the gradient of the smoothed mean loss", NONNEGATIVE),
    _scalar("tr", r"\operatorname{tr}H", "trace of the Hessian", REAL),
    _scalar("tr2", r"\operatorname{tr}H^2", "trace of the squared Hessian", NONNEGATIVE),
    _scalar("kappa", r"\kappa", "third derivative of the separable cubic along each axis", REAL),
    _scalar("c", "c", "slope of the separable cubic along each axis at 0", REAL),
    _scalar("M", "M_2", "second moment E‖g‖² of an estimate from one direction", NONNEGATIVE),
    _scalar("S", "S", "signal moment E[(difference of the mean losses)²‖u‖²]", NONNEGATIVE),
    _scalar("W", "W", "noise moment E[V(x+μu)‖u‖²]", NONNEGATIVE),
    _array("nu_p", r"\nu", "diversity of each patch", NONNEGATIVE, "P"),
    _array("V_p", "V", "variance of each patch's effect on the loss", NONNEGATIVE, "P"),
    _array("h_i", "h", "eigenvalues of the Hessian", POSITIVE, "d"),
    _array("s_i", "s", "second moments E x_i² along the eigenvectors", NONNEGATIVE, "d"),
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
