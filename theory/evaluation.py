"""From a symbolic expression to numbers: checked values, float64 or any precision."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import numpy as np
import sympy
from sympy.printing.numpy import NumPyPrinter

from theory import geometric
from theory.gamma_ratio import exact_gamma_ratio, float_gamma_ratio
from theory.symbols import SYMBOLS

FLOAT_FUNCTIONS: dict[str, Any] = {
    "gamma_ratio": float_gamma_ratio,
    "log_ratio": geometric.float_log_ratio,
    "power": geometric.float_power,
    "partial_sum": geometric.float_partial_sum,
    "harmonic": lambda n: np.float64(mpmath.harmonic(n)),
}
EXACT_FUNCTIONS: dict[str, Any] = {
    "gamma_ratio": exact_gamma_ratio,
    "log_ratio": geometric.exact_log_ratio,
    "power": geometric.exact_power,
    "partial_sum": geometric.exact_partial_sum,
}


class _ArrayPrinter(NumPyPrinter):
    """Print a sum over the array index as one numpy.sum over whole arrays."""

    def _print_Sum(self, expr: sympy.Sum) -> str:
        return f"numpy.sum({self._print(expr.function)})"

    def _print_Indexed(self, expr: Any) -> str:
        return self._print(expr.base.label)


def parameters(expression: sympy.Basic) -> tuple[str, ...]:
    """Return the names of the values that `expression` needs, in the order of the symbol table.

    The number of entries of an array is read off the array and is not a value of its own.
    """
    present = {str(symbol) for symbol in expression.free_symbols} & SYMBOLS.keys()
    lengths = {SYMBOLS[name].length for name in present}
    return tuple(name for name in SYMBOLS if name in present and name not in lengths)


def _arguments(names: Sequence[str]) -> list[sympy.Basic]:
    lengths = dict.fromkeys(SYMBOLS[name].length for name in names if SYMBOLS[name].length)
    return [SYMBOLS[name].symbol for name in (*names, *lengths)]


def float_function(expression: sympy.Basic, names: Sequence[str]) -> Callable[..., Any]:
    """Return `expression` as a float64 numpy function of the named values followed by the array lengths."""
    printer = _ArrayPrinter(
        {
            "fully_qualified_modules": False,
            "inline": True,
            "allow_unknown_functions": True,
            "user_functions": {},
        }
    )
    modules = [{**FLOAT_FUNCTIONS, "numpy": np}, "numpy"]
    return sympy.lambdify(_arguments(names), expression, modules=modules, printer=printer)  # type: ignore[arg-type]


def exact_function(expression: sympy.Basic, names: Sequence[str]) -> Callable[..., Any]:
    """Return `expression` as an mpmath function of the named values followed by the array lengths."""
    modules = [EXACT_FUNCTIONS, "mpmath"]
    return sympy.lambdify(_arguments(names), expression, modules=modules)  # type: ignore[arg-type]


def _checked(label: str, name: str, value: Any) -> np.ndarray:
    quantity = SYMBOLS[name]
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufO":
            raise TypeError
        if array.dtype.kind == "O" and any(isinstance(entry, str | bool) for entry in array.flat):
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{label}: {name} must be {quantity.domain.text}, got {value!r}") from None
    if quantity.length and (array.ndim != 1 or array.size == 0):
        raise ValueError(f"{label}: {name} must be a non-empty 1-D array, got shape {array.shape}")
    if not quantity.length and array.ndim != 0:
        raise ValueError(f"{label}: {name} must be a single number, got an array of shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{label}: {name} must be finite, got {value!r}")
    if not quantity.domain.admits(array):
        raise ValueError(f"{label}: {name} must be {quantity.domain.text}, got {value!r}")
    return array


def _lengths(label: str, arrays: Mapping[str, np.ndarray]) -> list[int]:
    lengths: dict[str, int] = {}
    for name, array in arrays.items():
        counted = SYMBOLS[name].length
        if counted and lengths.setdefault(counted, array.size) != array.size:
            raise ValueError(f"{label}: {name} must have {lengths[counted]} entries, got {array.size}")
    return list(lengths.values())


def checked_values(label: str, names: Sequence[str], values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return `values` as float64 arrays in the order of `names`.

    Raises ValueError, naming the statement, the argument, its value and what is allowed, for a missing or
    unknown name, a wrong shape, a value that is not finite or lies outside its domain.
    """
    for name in values:
        if name not in names:
            raise ValueError(f"{label}: unknown value {name}, must be one of {', '.join(names)}")
    for name in names:
        if name not in values:
            raise ValueError(f"{label}: value {name} is missing, needs {', '.join(names)}")
    arrays = {name: _checked(label, name, values[name]) for name in names}
    _lengths(label, arrays)
    return arrays


def float_arguments(label: str, arrays: Mapping[str, np.ndarray]) -> list[Any]:
    """Return the arguments of a `float_function`: numpy float64 scalars, arrays, then the array lengths."""
    return [array if array.ndim else np.float64(array) for array in arrays.values()] + _lengths(label, arrays)


def exact_arguments(label: str, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of an `exact_function`; an mpmath or integer scalar keeps all its digits."""
    arguments: list[Any] = []
    for name, array in arrays.items():
        if array.ndim:
            arguments.append([mpmath.mpf(float(entry)) for entry in array])
        elif isinstance(values[name], mpmath.mpf | numbers.Integral):
            arguments.append(mpmath.mpf(values[name]))
        else:
            arguments.append(mpmath.mpf(float(array)))
    return arguments + _lengths(label, arrays)
