"""Convolutions as a CPU wants them inside a loop: channels last, and the kernel's too.

XLA makes a convolution's axes canonical only outside of loops; the gradient of a convolution, whose kernel has its
channels exchanged, is tens of times slower inside one (jax issue 12868). Here the transposition is written out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.extend.core.primitives import conv_general_dilated_p

IMAGES, KERNEL = (0, 3, 1, 2), (3, 2, 0, 1)  # where NHWC images and HWIO kernels have their axes


def channels_last(function: Callable) -> Callable:
    """The function, of arrays in any pytrees, with every 2-d convolution in NHWC and HWIO; its values are the same."""

    def rewritten(*arguments):
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _evaluate(traced.jaxpr, traced.consts, *jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rewritten


def _evaluate(jaxpr: Jaxpr, constants, *arguments) -> list[Any]:
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True))

    def read(variable):
        return variable.val if isinstance(variable, Literal) else known[variable]

    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        if equation.primitive is conv_general_dilated_p and inputs[0].ndim == 4:
            results = [_convolution(*inputs, **equation.params)]
        else:
            parameters = {name: _inner(value) for name, value in equation.params.items()}
            parameters = equation.primitive.get_bind_params(parameters)
            results = equation.primitive.bind(*inputs, **parameters)
            results = results if equation.primitive.multiple_results else [results]
        known.update(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _inner(value: Any) -> Any:
    """A parameter of an equation: programs inside it (of a loop, a checkpoint, a call) are rewritten too."""
    if isinstance(value, ClosedJaxpr):
        return jax.make_jaxpr(partial(_evaluate, value.jaxpr, value.consts))(*value.in_avals)
    if isinstance(value, Jaxpr):
        return _inner(ClosedJaxpr(value, ())).jaxpr
    if isinstance(value, tuple) and any(isinstance(part, ClosedJaxpr) for part in value):
        parts = map(_inner, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _convolution(images, kernel, *, dimension_numbers, **parameters):
    """The convolution between transpositions, which vanish where the axes are canonical already."""
    before, axes, after = dimension_numbers
    ordered = [lax.transpose(array, _moves(spec, canonical)) for array, spec, canonical in (
        (images, before, IMAGES), (kernel, axes, KERNEL))]  # fmt: skip
    numbers = lax.ConvDimensionNumbers(IMAGES, KERNEL, IMAGES)
    result = conv_general_dilated_p.bind(*ordered, dimension_numbers=numbers, **parameters)
    return lax.transpose(result, _moves(IMAGES, after))


def _moves(spec: tuple[int, ...], canonical: tuple[int, ...]) -> list[int]:
    """The permutation that takes axes from where `spec` has them to where `canonical` wants them."""
    place = dict(zip(canonical, spec, strict=True))
    return [place[axis] for axis in range(4)]
