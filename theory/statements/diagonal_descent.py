"""C1 for a diagonal Hessian: the mean loss after one step and at the floor, in sums over the eigenvalues."""

from collections.abc import Callable

import sympy

from theory.bound import Assumption, Bound, Step
from theory.direction_moments import gaussian
from theory.lemmas import gaussian_moment
from theory.mean import Mean
from theory.statements.second_moments import CONSTANT, FRESH
from theory.symbols import symbols, total

d, q, mu, V, eta, h, s = symbols("d q mu V eta h_i s_i")

Noise = tuple[sympy.Expr, sympy.Expr, sympy.Expr]
"""Coefficients b₀, b₁, b₂ of B_i = b₀ + b₁h_i + b₂h_i²."""

_DIAGONAL = Assumption("F̄(x) = ½Σh_i x_i² in the eigenbasis of H; x_{t+1} = x_t − ηḡ_t, no projection")
_DIRECTIONS = Assumption("ḡ averages q independent directions u ~ N(0, I_d)")

# One eigen-direction, and sums over all of them, as plain symbols.
_H, _S, _KEPT, _WEIGHT = sympy.symbols("h s k w", positive=True)
_TRACE, _SQUARES, _SUM, _B = sympy.symbols("trH trH² S B", positive=True)
_LINEAR, _FORM, _U = sympy.symbols("aᵀu uᵀHu u_i", real=True)


def forward_noise(trace: sympy.Expr, squares: sympy.Expr) -> Noise:
    """Return the noise of the forward estimate, given tr H and tr H²."""
    return mu**2 * (trace**2 + 2 * squares) / 4 + 2 * V / mu**2, mu**2 * trace, 2 * mu**2


def antithetic_noise(trace: sympy.Expr, squares: sympy.Expr) -> Noise:
    """Return the noise of the antithetic estimate, which curvature does not enter."""
    return V / (2 * mu**2), sympy.S.Zero, sympy.S.Zero


def _power_sum(power: int) -> sympy.Sum:
    return total(h**power, d)


def _weight() -> sympy.Expr:
    """1/(2 − ηh_i(1 + 1/q))."""
    return 1 / (2 - eta * h * (1 + 1 / q))


def _weighted(power: int) -> sympy.Sum:
    return total(h**power * _weight(), d)


def _loss_after_a_step(noise: Noise) -> sympy.Expr:
    b0, b1, b2 = noise
    kept = total(h * (1 - eta * h) ** 2 * s, d)
    spread = total(h**3 * s, d) + _power_sum(1) * (total(h**2 * s, d) + b0) + b1 * _power_sum(2) + b2 * _power_sum(3)
    return (kept + eta**2 / q * spread) / 2


def _loss_at_the_floor(noise: Noise) -> sympy.Expr:
    b0, b1, b2 = noise
    return eta / (2 * q) * ((_weighted_sum(noise) + b0) * _weighted(0) + b1 * _weighted(1) + b2 * _weighted(2))


def _weighted_sum(noise: Noise) -> sympy.Expr:
    """S = Σh_i²s_i at the floor."""
    b0, b1, b2 = noise
    carried = b0 * _weighted(1) + b1 * _weighted(2) + b2 * _weighted(3)
    return eta / q * carried / (1 - _amplification())


def _amplification() -> sympy.Expr:
    return eta / q * _weighted(1)


def _over_eigenvalues(term: sympy.Expr, sums: dict) -> sympy.Expr:
    """Return the sum of `term` over the eigen-directions, unevaluated; `sums` gives each monomial's."""
    return d * Mean(term, {monomial: value / d for monomial, value in sums.items()})


def _square(difference: sympy.Expr, probe: sympy.Expr) -> Mean:
    """E g_i² of g = (difference + noises) u/probe from its sixth moments; a_i² = h²s, ‖a‖² = S."""
    plus, minus = sympy.symbols("n_1 n_2", real=True)
    others = _TRACE - _H
    law = {
        _LINEAR**2 * _U**2: _H**2 * _S * gaussian((4,)) + (_SUM - _H**2 * _S) * gaussian((2, 2)),
        _FORM**2 * _U**2: _H**2 * gaussian((6,))
        + (2 * _H * others + _SQUARES - _H**2) * gaussian((4, 2))
        + (others**2 - (_SQUARES - _H**2)) * gaussian((2, 2, 2)),
        **dict.fromkeys((plus**2 * _U**2, minus**2 * _U**2), V * gaussian((2,))),
        **dict.fromkeys((_LINEAR * _FORM * _U**2, plus * minus * _U**2), sympy.S.Zero),
        **dict.fromkeys((n * part * _U**2 for n in (plus, minus) for part in (_LINEAR, _FORM)), sympy.S.Zero),
    }
    return Mean(((difference + plus - minus) * _U / probe) ** 2, law)


def _next(noise: sympy.Expr) -> sympy.Expr:
    """s⁺ = (1−ηh)²s + (η²/q)(h²s + S + B)."""
    return (1 - eta * _H) ** 2 * _S + eta**2 / q * (_H**2 * _S + _SUM + noise)


def _recursion(square: Mean, noise: Noise) -> tuple[Step, ...]:
    x, step = sympy.symbols("x ḡ", real=True)
    b0, b1, b2 = noise
    second = _SUM + 2 * _H**2 * _S + b0 + b1 * _H + b2 * _H**2
    law = {x**2: _S, x * step: _H * _S, step**2: _H**2 * _S + (_SUM + _H**2 * _S + _B) / q}
    return (
        gaussian_moment(4),
        gaussian_moment(2, 2),
        gaussian_moment(4, 2),
        gaussian_moment(2, 2, 2),
        gaussian_moment(6),
        Step("E g_i² = S + 2h²s + B, with S = Σ_j h_j²s_j", square, second),
        Step("one step along one eigen-direction", Mean((x - eta * step) ** 2, law), _next(_B)),
    )


def _step(square: Mean, noise_of: Callable[..., Noise]) -> tuple[Step, ...]:
    b0, b1, b2 = noise_of(_TRACE, _SQUARES)
    noise = b0 + b1 * _H + b2 * _H**2
    sums = {_H**power: _power_sum(power) for power in (1, 2, 3)}
    sums |= {_KEPT: total(h * (1 - eta * h) ** 2 * s, d), _H**3 * _S: total(h**3 * s, d)}
    inserted = {_SUM: total(h**2 * s, d), _TRACE: _power_sum(1), _SQUARES: _power_sum(2)}
    kept_apart = (_KEPT + eta**2 / q * _H * (_H**2 * _S + _SUM + noise)) / 2
    return (
        *_recursion(square, (b0, b1, b2)),
        Step(
            "½h times it, k = h(1−ηh)²s set apart",
            _H * _next(noise) / 2,
            kept_apart.subs(_KEPT, _H * (1 - eta * _H) ** 2 * _S),
        ),
        Step(
            "sum over the eigen-directions",
            _over_eigenvalues(kept_apart, sums).xreplace(inserted),
            _loss_after_a_step(noise_of(_power_sum(1), _power_sum(2))),
        ),
    )


def _floor(square: Mean, noise_of: Callable[..., Noise]) -> tuple[Step, ...]:
    b0, b1, b2 = noise_of(_TRACE, _SQUARES)
    noise = b0 + b1 * _H + b2 * _H**2
    exact = noise_of(_power_sum(1), _power_sum(2))
    sums = {_H**power * _WEIGHT: _weighted(power) for power in (0, 1, 2, 3)}
    inserted = {_TRACE: _power_sum(1), _SQUARES: _power_sum(2)}
    fixed = eta / q * (_SUM + _B) / (_H * (2 - eta * _H * (1 + 1 / q)))
    loss = _over_eigenvalues(eta / (2 * q) * (_SUM + noise) * _WEIGHT, sums).xreplace(inserted)
    carried = _over_eigenvalues(eta / q * _H * (_SUM + noise) * _WEIGHT, sums).xreplace(inserted)
    return (
        *_recursion(square, (b0, b1, b2)),
        Step("fixed point of one eigen-direction, given S", _next(_B).subs(_S, fixed), fixed),
        Step(
            "S = Σh²s there is linear in S, w = 1/(2−ηh(1+1/q)): solve it",
            carried.xreplace({_SUM: _weighted_sum(exact)}),
            _weighted_sum(exact),
        ),
        Step("½Σhs there", loss.xreplace({_SUM: _weighted_sum(exact)}), _loss_at_the_floor(exact)),
    )


_FORWARD_SQUARE = _square(mu * _LINEAR + mu**2 * _FORM / 2, mu)
_ANTITHETIC_SQUARE = _square(2 * mu * _LINEAR, 2 * mu)

_SETTING = (_DIAGONAL, _DIRECTIONS, FRESH, CONSTANT)
_STABLE = (
    Assumption("stable along each eigenvector: ηh_i(1 + 1/q) < 2 for all i", eta * h * (1 + 1 / q) < 2, needed=True),
    Assumption("stable as a whole: A = (η/q)Σ h_j/(2 − ηh_j(1 + 1/q)) < 1", _amplification() < 1, needed=True),
)

BOUNDS = (
    Bound(
        label="C1-diagonal-forward",
        name="loss floor on a diagonal quadratic, forward",
        statement=(
            "E F̄ → ½Σh_is_i, s_i = (η/q)(S + B_i)/(h_i(2−ηh_i(1+1/q))), B_i = (μ²/4)(tr² + 2trH² "
            "+ 4h_itr + 8h_i²) + 2V/μ²"
        ),
        sense="equality",
        status="proven",
        expr=_loss_at_the_floor(forward_noise(_power_sum(1), _power_sum(2))),
        assumptions=(*_SETTING, *_STABLE),
        source="derived here",
        steps=lambda: _floor(_FORWARD_SQUARE, forward_noise),
    ),
    Bound(
        label="C1-diagonal-antithetic",
        name="loss floor on a diagonal quadratic, antithetic",
        statement="E F̄ → ½Σh_is_i, s_i = (η/q)(S + B)/(h_i(2−ηh_i(1+1/q))), B = V/(2μ²)",
        sense="equality",
        status="proven",
        expr=_loss_at_the_floor(antithetic_noise(_power_sum(1), _power_sum(2))),
        assumptions=(*_SETTING, *_STABLE),
        source="derived here",
        steps=lambda: _floor(_ANTITHETIC_SQUARE, antithetic_noise),
    ),
    Bound(
        label="C1-step-forward",
        name="loss after one step, forward",
        statement=(
            "E F̄(x⁺) = ½Σh_is_i⁺ from any s_i = E x_i², s_i⁺ = (1−ηh_i)²s_i + (η²/q)[h_i²s_i + Σ_jh_j²s_j + B_i]"
        ),
        sense="equality",
        status="proven",
        expr=_loss_after_a_step(forward_noise(_power_sum(1), _power_sum(2))),
        assumptions=_SETTING,
        source="derived here",
        steps=lambda: _step(_FORWARD_SQUARE, forward_noise),
    ),
    Bound(
        label="C1-step-antithetic",
        name="loss after one step, antithetic",
        statement=(
            "E F̄(x⁺) = ½Σh_is_i⁺ from any s_i = E x_i², s_i⁺ = (1−ηh_i)²s_i + (η²/q)[h_i²s_i + Σ_jh_j²s_j + V/(2μ²)]"
        ),
        sense="equality",
        status="proven",
        expr=_loss_after_a_step(antithetic_noise(_power_sum(1), _power_sum(2))),
        assumptions=_SETTING,
        source="derived here",
        steps=lambda: _step(_ANTITHETIC_SQUARE, antithetic_noise),
    ),
)
