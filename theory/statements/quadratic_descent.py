"""C1: descent on F̄ = (h/2)‖x‖² with q averaged directions, as an exact scalar recursion for e_t = E‖x_t‖²."""

from typing import Any

import sympy

from theory.bound import Assumption, Bound, Step
from theory.direction_moments import gaussian
from theory.geometric import log_ratio, partial_sum, power
from theory.lemmas import gaussian_moment
from theory.mean import Mean
from theory.statements.second_moments import CONSTANT, FRESH, antithetic_square, forward_square
from theory.symbols import symbols

d, q, mu, V, eta, h, e0, e, t = symbols("d q mu V eta h e0 e t")

_ISOTROPIC = Assumption("F̄(x) = (h/2)‖x‖², e_t = E‖x_t‖²; x_{t+1} = x_t − ηḡ_t, no projection")
_DIRECTIONS = Assumption("ḡ averages q independent directions u ~ N(0, I_d)")
_SETTING = (_ISOTROPIC, _DIRECTIONS, FRESH, CONSTANT)

_RATE, _ADDED, _HEIGHT, _TARGET = sympy.symbols("r b x_0 x_1", positive=True)
_ALONG, _R = sympy.symbols("xᵀu R", real=True)


def gain() -> sympy.Expr:
    """Return 1 + (d+1)/q, by which the directions' own spread inflates a squared step."""
    return 1 + (d + 1) / q


def contraction() -> sympy.Expr:
    """Return 1 − ρ = 2ηh − η²h²(1 + (d+1)/q)."""
    return 2 * eta * h - eta**2 * h**2 * gain()


def floor_of(noise: sympy.Expr) -> sympy.Expr:
    """Return e_∞ = (ηB/q)/(2h − ηh²(1 + (d+1)/q))."""
    return eta * noise / q / (2 * h - eta * h**2 * gain())


def _error_of(noise: sympy.Expr) -> Any:
    return e0 * power(*_RATIO, t) + eta**2 * noise / q * partial_sum(*_RATIO, t)


def _time_of(noise: sympy.Expr) -> sympy.Expr:
    floor = floor_of(noise)
    log_of_rate: Any = log_ratio(*_RATIO)
    return sympy.log((e0 - floor) / (e - floor)) / -log_of_rate


def _forward_square() -> Mean:
    return forward_square(_signal(mu * h * _ALONG + mu**2 * h * _R**2 / 2), d * V, d * V)


def _antithetic_square() -> Mean:
    return antithetic_square(_signal(2 * mu * h * _ALONG), d * V, d * V)


def _signal(difference: sympy.Expr) -> Mean:
    """E[difference² ‖u‖²] in xᵀu and ‖u‖: at x, F̄(x+μu) − F̄(x) = μh xᵀu + μ²h‖u‖²/2."""
    law = {_ALONG**2 * _R**2: e * gaussian((2,), 1), _ALONG * _R**4: 0, _R**6: gaussian((), 3)}
    return Mean(difference**2 * _R**2, law)


def _moment(square: Mean, noise: sympy.Expr) -> tuple[Step, ...]:
    return (
        gaussian_moment(2, norm=1),
        gaussian_moment(norm=3),
        Step("E‖g‖² on this quadratic: the signal (d+2)h²e and the rest, B", square, (d + 2) * h**2 * e + noise),
    )


def _one_step(noise: sympy.Expr) -> sympy.Expr:
    """E‖x − ηḡ‖² from E‖x‖² = e, E ḡ = hx and the average of q independent directions, unevaluated."""
    x, step = sympy.symbols("x ḡ", real=True)
    square = (h**2 * e) + ((d + 2) * h**2 * e + noise - h**2 * e) / q
    return Mean((x - eta * step) ** 2, {x**2: e, x * step: h * e, step**2: square})


def _recursion(square: Mean, noise: sympy.Expr) -> tuple[Step, ...]:
    return (
        *_moment(square, noise),
        Step("one step: e ↦ ρe + η²B/q", _one_step(noise), C1_RATE * e + eta**2 * noise / q),
    )


def _never_negative() -> Step:
    return Step("ρ is a sum of squares: never negative", sympy.S.Zero, C1_RATE, "≤")


def _floor(square: Mean, noise: sympy.Expr) -> tuple[Step, ...]:
    fixed = sympy.Symbol("e_∞", real=True)
    return (
        *_recursion(square, noise),
        _never_negative(),
        Step(
            "the recursion contracts every distance from b/(1−r) by r, 0 ≤ r < 1",
            _RATE * (fixed + _ADDED / (1 - _RATE)) + _ADDED - _ADDED / (1 - _RATE),
            _RATE * fixed,
        ),
        Step(
            "its fixed point, with r = ρ and b = η²B/q",
            (_ADDED / (1 - _RATE)).subs({_RATE: C1_RATE, _ADDED: eta**2 * noise / q}),
            floor_of(noise),
        ),
    )


def _error(square: Mean, noise: sympy.Expr) -> tuple[Step, ...]:
    after = e0 * _RATE**t + _ADDED * (1 - _RATE**t) / (1 - _RATE)
    return (
        *_recursion(square, noise),
        Step(
            "induction: the formula at t + 1 is the recursion applied to it at t",
            after.subs(t, t + 1),
            _RATE * after + _ADDED,
        ),
        Step("and it starts at e₀", sympy.Subs(after, t, 0), e0),
        Step("at r = 1 the formula is its limit, e₀ + bt", sympy.Limit(after, _RATE, 1), e0 + _ADDED * t),
        Step(
            "which keeps to the recursion at r = 1",
            sympy.Subs(_RATE * (e0 + _ADDED * t) + _ADDED, _RATE, 1),
            e0 + _ADDED * (t + 1),
        ),
        Step(
            "with this ρ and b = η²B/q",
            after.subs({_RATE: C1_RATE, _ADDED: eta**2 * noise / q}),
            _error_of(noise),
        ),
    )


def _time(square: Mean, noise: sympy.Expr) -> tuple[Step, ...]:
    reached = sympy.log(_HEIGHT / _TARGET) / -sympy.log(_RATE)
    elapsed = sympy.Symbol("T", real=True)
    equation = elapsed * sympy.log(_RATE) + sympy.log(_HEIGHT) - sympy.log(_TARGET)
    floor = floor_of(noise)
    return (
        *_floor(square, noise),
        Step(
            "heights above the floor, r^T x₀ = x₁: take logarithms and solve for T",
            sympy.solve(equation, elapsed)[0],
            reached,
        ),
        Step(
            "with this ρ and floor",
            reached.subs({_HEIGHT: e0 - floor, _TARGET: e - floor, _RATE: C1_RATE}),
            _time_of(noise),
        ),
    )


def _rate() -> tuple[Step, ...]:
    without = _one_step(sympy.S.Zero)
    return (
        *_moment(_forward_square(), B_FORWARD),
        *_moment(_antithetic_square(), B_ANTITHETIC),
        Step("factor of e in one step, forward or antithetic", without / e, C1_RATE),
    )


def _stability() -> tuple[Step, ...]:
    margin, excess = sympy.Symbol("s", real=True), sympy.Symbol("ρ − 1", nonnegative=True)
    return (
        *_rate(),
        _never_negative(),
        Step(
            "at η = limit/(1+s), 1 − ρ = ηh·2s/(1+s): ρ < 1 below the limit, 1 at it, > 1 above",
            (1 - C1_RATE).subs(eta, C1_STABILITY / (1 + margin)),
            C1_STABILITY / (1 + margin) * h * 2 * margin / (1 + margin),
        ),
        Step(
            "from the limit on every step adds at least b = η²B/q > 0: e_t grows without end",
            _ADDED,
            (1 + excess) * e + _ADDED - e,
            "≤",
        ),
        Step(
            "below it every distance from b/(1−ρ) shrinks by ρ, 0 ≤ ρ < 1",
            _RATE * (e + _ADDED / (1 - _RATE)) + _ADDED - _ADDED / (1 - _RATE),
            _RATE * e,
        ),
        Step("solve 1 − ρ = 0 for η > 0", sympy.solve(sympy.expand((1 - C1_RATE) / eta), eta)[0], C1_STABILITY),
    )


B_FORWARD = mu**2 * h**2 * d * (d + 2) * (d + 4) / 4 + 2 * d * V / mu**2
B_ANTITHETIC = d * V / (2 * mu**2)
C1_RATE = (1 - eta * h) ** 2 + eta**2 * h**2 * (d + 1) / q
_RATIO = contraction(), C1_RATE
C1_STABILITY = 2 / (h * gain())

_STABLE = Assumption("stable step: ηh(1 + (d+1)/q) < 2", eta * h * gain() < 2, needed=True)


def _target(noise: sympy.Expr) -> tuple[Assumption, ...]:
    between = (e0 - e) * (e - floor_of(noise)) > 0
    return _STABLE, Assumption("the target e lies between the start e₀ and the floor e_∞", between, needed=True)


BOUNDS = (
    Bound(
        label="C1-rate",
        name="contraction per step",
        statement="ρ = (1 − ηh)² + η²h²(d+1)/q, e_{t+1} = ρe_t + η²B/q",
        sense="equality",
        status="proven",
        expr=C1_RATE,
        assumptions=_SETTING,
        source="derived here",
        steps=_rate,
    ),
    Bound(
        label="C1-stability",
        name="stability",
        statement="e_t stays bounded iff η is below 2/(h(1 + (d+1)/q)), where B > 0",
        sense="equality",
        status="proven",
        expr=C1_STABILITY,
        assumptions=_SETTING,
        source="derived here",
        steps=_stability,
    ),
    Bound(
        label="C1-forward",
        name="error after t steps, forward",
        statement="E‖x_t‖² = e_t = ρ^t e₀ + (η²B/q)(1 + ρ + … + ρ^(t−1)), B = μ²h²d(d+2)(d+4)/4 + 2dV/μ²",
        sense="equality",
        status="proven",
        expr=_error_of(B_FORWARD),
        assumptions=_SETTING,
        source="derived here",
        steps=lambda: _error(_forward_square(), B_FORWARD),
    ),
    Bound(
        label="C1-antithetic",
        name="error after t steps, antithetic",
        statement="E‖x_t‖² = e_t = ρ^t e₀ + (η²B/q)(1 + ρ + … + ρ^(t−1)), B = dV/(2μ²)",
        sense="equality",
        status="proven",
        expr=_error_of(B_ANTITHETIC),
        assumptions=_SETTING,
        source="derived here",
        steps=lambda: _error(_antithetic_square(), B_ANTITHETIC),
    ),
    Bound(
        label="C1-floor-forward",
        name="error floor, forward",
        statement="e_∞ = (ηB/q)/(2h − ηh²(1+(d+1)/q)), B = μ²h²d(d+2)(d+4)/4 + 2dV/μ²",
        sense="equality",
        status="proven",
        expr=floor_of(B_FORWARD),
        assumptions=(*_SETTING, _STABLE),
        source="derived here",
        steps=lambda: _floor(_forward_square(), B_FORWARD),
    ),
    Bound(
        label="C1-floor-antithetic",
        name="error floor, antithetic",
        statement="e_∞ = (ηB/q)/(2h − ηh²(1+(d+1)/q)), B = dV/(2μ²)",
        sense="equality",
        status="proven",
        expr=floor_of(B_ANTITHETIC),
        assumptions=(*_SETTING, _STABLE),
        source="derived here",
        steps=lambda: _floor(_antithetic_square(), B_ANTITHETIC),
    ),
    Bound(
        label="C1-time-forward",
        name="steps to a target, forward",
        statement="t = ln((e₀−e_∞)/(e−e_∞))/(−ln ρ) steps reach E‖x_t‖² = e",
        sense="equality",
        status="proven",
        expr=_time_of(B_FORWARD),
        assumptions=(*_SETTING, *_target(B_FORWARD)),
        source="derived here",
        steps=lambda: _time(_forward_square(), B_FORWARD),
    ),
    Bound(
        label="C1-time-antithetic",
        name="steps to a target, antithetic",
        statement="t = ln((e₀−e_∞)/(e−e_∞))/(−ln ρ) steps reach E‖x_t‖² = e",
        sense="equality",
        status="proven",
        expr=_time_of(B_ANTITHETIC),
        assumptions=(*_SETTING, *_target(B_ANTITHETIC)),
        source="derived here",
        steps=lambda: _time(_antithetic_square(), B_ANTITHETIC),
    ),
)
