"""E3: second moments of the estimates on a quadratic loss, exactly."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.direction_moments import gaussian
from theory.lemmas import gaussian_moment
from theory.mean import Mean
from theory.statements.second_moments import CONSTANT, FRESH, antithetic_square, forward_square
from theory.symbols import symbols

d, mu, V, grad, tr, tr2 = symbols("d mu V grad tr tr2")

_LINEAR, _FORM, _R = sympy.symbols("aᵀu uᵀHu R", real=True)

_QUADRATIC = Assumption("F̄(x) = ½xᵀHx + cᵀx, a = Hx + c its gradient at x")
_NORMAL = Assumption("u ~ N(0, I_d)")
_TRACES = Assumption(
    "tr(H)² ≤ d tr(H²), as for every symmetric H (to 1e-9)", tr**2 <= d * tr2 * (1 + sympy.Rational(1, 10**9))
)


def linear_moment() -> sympy.Expr:
    """Return E[⟨a,u⟩²‖u‖²] = ‖a‖²E[u₁²‖u‖²] by rotation."""
    return grad**2 * gaussian((2,), 1)


def form_moment() -> sympy.Expr:
    """Return E[(uᵀHu)²‖u‖²] = tr(H²)E[u₁⁴‖u‖²] + (tr(H)² − tr(H²))E[u₁²u₂²‖u‖²], in the eigenbasis of H."""
    return tr2 * gaussian((4,), 1) + (tr**2 - tr2) * gaussian((2, 2), 1)


def _signal(difference: sympy.Expr) -> Mean:
    law = {_LINEAR**2 * _R**2: linear_moment(), _FORM**2 * _R**2: form_moment(), _LINEAR * _FORM * _R**2: 0}
    return Mean(difference**2 * _R**2, law)


def _value(sign: int) -> sympy.Expr:
    return sign * mu * _LINEAR + mu**2 * _FORM / 2


def _forward() -> tuple[Step, ...]:
    signal = _signal(_value(1))
    return (
        gaussian_moment(2, norm=1),
        gaussian_moment(4, norm=1),
        gaussian_moment(2, 2, norm=1),
        gaussian_moment(norm=1),
        Step("E[(uᵀHu)²‖u‖²] in the eigenbasis of H", form_moment(), (d + 4) * (tr**2 + 2 * tr2)),
        Step(
            "signal moment; the cross term is odd in u",
            signal,
            mu**2 * (d + 2) * grad**2 + mu**4 * (d + 4) * (tr**2 + 2 * tr2) / 4,
        ),
        Step("insert into the exact second moment", forward_square(signal, d * V, d * V), E3_FORWARD),
    )


def _antithetic() -> tuple[Step, ...]:
    signal = _signal(_value(1) - _value(-1))
    return (
        gaussian_moment(2, norm=1),
        gaussian_moment(norm=1),
        Step("signal moment; the curvature cancels", signal, 4 * mu**2 * (d + 2) * grad**2),
        Step("insert into the exact second moment", antithetic_square(signal, d * V, d * V), E3_ANTITHETIC),
    )


E3_FORWARD = (d + 2) * grad**2 + mu**2 * (d + 4) * (tr**2 + 2 * tr2) / 4 + 2 * d * V / mu**2
E3_ANTITHETIC = (d + 2) * grad**2 + d * V / (2 * mu**2)

BOUNDS = (
    Bound(
        label="E3-forward",
        name="second moment on a quadratic, forward",
        statement="E‖g‖² = (d+2)‖a‖² + (μ²/4)(d+4)(tr(H)² + 2tr(H²)) + 2dV/μ²",
        sense="equality",
        status="proven",
        expr=E3_FORWARD,
        assumptions=(_QUADRATIC, _NORMAL, FRESH, CONSTANT, _TRACES),
        source="derived here",
        steps=_forward,
    ),
    Bound(
        label="E3-antithetic",
        name="second moment on a quadratic, antithetic",
        statement="E‖g‖² = (d+2)‖a‖² + dV/(2μ²)",
        sense="equality",
        status="proven",
        expr=E3_ANTITHETIC,
        assumptions=(_QUADRATIC, _NORMAL, FRESH, CONSTANT),
        source="derived here",
        steps=_antithetic,
    ),
)
