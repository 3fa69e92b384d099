"""E1: what a zeroth-order estimate estimates, for four laws of its directions."""

from collections.abc import Callable

import sympy

from theory.bound import Assumption, Bound, Step
from theory.direction_moments import coordinate, gaussian, rademacher, sphere
from theory.lemmas import gaussian_moment, integration_by_parts
from theory.mean import Mean
from theory.symbols import symbols

d, mu, c, kappa, grad_mu = symbols("d mu c kappa grad_mu")

_CUBIC = Assumption("F̄(x) = Σ_i (c x_i + κ x_i³/6), the estimate taken at x = 0")
_ANTITHETIC = Assumption("antithetic estimate g = (F_ξ(x+μu) − F_ζ(x−μu)) u/(2μ), ξ and ζ fresh and independent of u")

_OWN, _OTHER = sympy.symbols("u1 u2", real=True)
_ALONG, _ACROSS = sympy.symbols("u_a u_b", real=True)
_MODERATE = (
    Assumption("u ~ N(0, I_d); forward or antithetic estimate, defence draws independent of u"),
    Assumption("F̄ locally Lipschitz of moderate growth"),
)


def _difference(x: sympy.Expr) -> sympy.Expr:
    """Half the difference of one summand of the cubic at ±x."""
    value = c * x + kappa * x**3 / 6
    return (value - value.subs(x, -x)) / 2


def _first_coordinate(moment: Callable[..., sympy.Expr]) -> Mean:
    """The mean of g₁; the d−1 other coordinates enter alike, through one of them."""
    signal = _difference(_OWN).subs(_OWN, mu * _OWN) + (d - 1) * _difference(_OTHER).subs(_OTHER, mu * _OTHER)
    law = {
        _OWN**2: moment((2,)),
        _OWN**4: moment((4,)),
        _OWN * _OTHER: moment((1, 1)),
        _OWN * _OTHER**3: moment((1, 3)),
    }
    return Mean(signal * _OWN / mu, law)


def _estimate(moment: Callable[..., sympy.Expr], value: sympy.Expr) -> Step:
    return Step(
        "mean of the first coordinate of g: odd moments vanish, E u₁² and E u₁⁴ remain",
        _first_coordinate(moment),
        value,
    )


def _smoothed_slope(second_moment: sympy.Expr, value: sympy.Expr, text: str) -> Step:
    """Derivative at 0 of E[c(x+μv) + κ(x+μv)³/6] for a symmetric v of that second moment."""
    x, v = sympy.symbols("x v", real=True)
    smoothed = Mean(c * (x + mu * v) + kappa * (x + mu * v) ** 3 / 6, {v: 0, v**2: second_moment, v**3: 0})
    return Step(text, sympy.Subs(sympy.Derivative(smoothed.doit(), x), x, 0), value)


def unbiased() -> tuple[Step, ...]:
    """E g = ∇F̄_μ: by integration by parts along each coordinate, on exponentials and then for all losses."""
    x, u, b, s = sympy.symbols("x u b s", real=True)
    density = sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi)
    mean = sympy.exp(s**2 / 2)
    return (
        *integration_by_parts(),
        Step(
            "of a Gaussian u, E exp(su) = exp(s²/2)",
            sympy.Integral(sympy.exp(s * u) * density, (u, -sympy.oo, sympy.oo)),
            mean,
        ),
        Step(
            "along a coordinate, on the losses F̄ = exp(bx): E[(F̄(x+μu) − F̄(x))u]/μ is the slope of F̄_μ",
            sympy.exp(b * x) * sympy.Subs(sympy.Derivative(mean, s), s, b * mu) / mu,
            sympy.Derivative(sympy.exp(b * x) * mean.subs(s, b * mu), x),
        ),
    )


def _law(along: sympy.Symbol, slope: sympy.Expr) -> tuple[sympy.Expr, dict]:
    """(D + n₁ − n₂)·u along one axis, and its law: the noises have mean 0 given u, E[D u] = μ·slope by parts."""
    difference, here, there = sympy.symbols("D n_1 n_2", real=True)
    law = {difference * along: mu * slope, here * along: 0, there * along: 0}
    return (difference + here - there) * along / mu, law


def _alignment() -> tuple[Step, ...]:
    return (
        *unbiased(),
        Step(
            "along ∇F̄_μ, times its length: the noise of the defence has mean 0 given u",
            grad_mu * Mean(*_law(_ALONG, grad_mu)),
            E1_ALIGNMENT,
        ),
    )


def _norm() -> tuple[Step, ...]:
    return (
        *unbiased(),
        Step(
            "squared and summed over the axes: along ∇F̄_μ, and d − 1 across it where the slope is 0",
            Mean(*_law(_ALONG, grad_mu)) ** 2 + (d - 1) * Mean(*_law(_ACROSS, sympy.S.Zero)) ** 2,
            E1_NORM,
        ),
    )


def _gaussian() -> tuple[Step, ...]:
    return (
        gaussian_moment(2),
        gaussian_moment(4),
        _smoothed_slope(gaussian((2,)), E1_GAUSSIAN, "slope of the Gaussian-smoothed F̄ at 0"),
        _estimate(gaussian, E1_GAUSSIAN),
    )


def _sphere() -> tuple[Step, ...]:
    r = sympy.Symbol("r", positive=True)
    ball = sympy.Integral(r**2 / d * d * r ** (d - 1) / sympy.sqrt(d) ** d, (r, 0, sympy.sqrt(d)))
    return (
        gaussian_moment(4),
        gaussian_moment(norm=2),
        Step("second moment of one coordinate in the ball of radius √d", ball, d / (d + 2)),
        _smoothed_slope(d / (d + 2), E1_SPHERE, "slope at 0 of F̄ smoothed over the ball of radius μ√d"),
        _estimate(sphere, E1_SPHERE),
    )


def _rademacher() -> tuple[Step, ...]:
    return (
        Step(
            "bias against the slope c of F̄: κμ²/6, from E u₁⁴ = 1",
            _first_coordinate(rademacher) - sympy.Subs(sympy.Derivative(_difference(_OWN), _OWN), _OWN, 0),
            kappa * mu**2 / 6,
        ),
        _estimate(rademacher, E1_RADEMACHER),
    )


def _coordinate() -> tuple[Step, ...]:
    chosen = _difference(_OWN).subs(_OWN, mu * sympy.sqrt(d)) * sympy.sqrt(d) / mu
    return (
        Step(
            "axis 1 is chosen with probability 1/d, then g₁ = (F̄(μ√d e₁) − F̄(−μ√d e₁))√d/(2μ)",
            chosen / d,
            E1_COORDINATE,
        ),
        _estimate(coordinate, E1_COORDINATE),
    )


E1_ALIGNMENT = grad_mu**2
E1_NORM = grad_mu**2
E1_GAUSSIAN = c + kappa * mu**2 / 2
E1_SPHERE = c + kappa * mu**2 * d / (2 * (d + 2))
E1_RADEMACHER = c + kappa * mu**2 / 6
E1_COORDINATE = c + kappa * mu**2 * d / 6

BOUNDS = (
    Bound(
        label="E1-alignment",
        name="unbiasedness",
        statement="E⟨g, ∇F̄_μ(x)⟩ = ‖∇F̄_μ(x)‖²: the randomness of the defence adds no bias",
        sense="equality",
        status="proven",
        expr=E1_ALIGNMENT,
        assumptions=_MODERATE,
        source="derived here",
        steps=_alignment,
    ),
    Bound(
        label="E1-norm",
        name="unbiasedness in every direction",
        statement="‖E g‖² = ‖∇F̄_μ(x)‖²: with E1-alignment, no bias across ∇F̄_μ either",
        sense="equality",
        status="proven",
        expr=E1_NORM,
        assumptions=_MODERATE,
        source="derived here",
        steps=_norm,
    ),
    Bound(
        label="E1-gaussian",
        name="mean estimate, Gaussian directions",
        statement="E g_i = c + κμ²/2 = ∂_iF̄_μ(0)",
        sense="equality",
        status="proven",
        expr=E1_GAUSSIAN,
        assumptions=(_CUBIC, _ANTITHETIC, Assumption("u ~ N(0, I_d)")),
        source="derived here",
        steps=_gaussian,
    ),
    Bound(
        label="E1-sphere",
        name="mean estimate, sphere directions",
        statement="E g_i = c + κμ²d/(2(d+2)), the slope of F̄ smoothed over the ball of radius μ√d",
        sense="equality",
        status="proven",
        expr=E1_SPHERE,
        assumptions=(_CUBIC, _ANTITHETIC, Assumption("u uniform on the sphere of radius √d")),
        source="derived here",
        steps=_sphere,
    ),
    Bound(
        label="E1-rademacher",
        name="mean estimate, Rademacher directions (SPSA)",
        statement="E g_i = c + κμ²/6, not the slope of F̄_μ",
        sense="equality",
        status="proven",
        expr=E1_RADEMACHER,
        assumptions=(_CUBIC, _ANTITHETIC, Assumption("u_i independent signs ±1")),
        source="derived here",
        steps=_rademacher,
    ),
    Bound(
        label="E1-coordinate",
        name="mean estimate, coordinate directions",
        statement="E g_i = c + κμ²d/6, not the slope of F̄_μ",
        sense="equality",
        status="proven",
        expr=E1_COORDINATE,
        assumptions=(_CUBIC, _ANTITHETIC, Assumption("u = ±√d e_I, I uniform on the axes")),
        source="derived here",
        steps=_coordinate,
    ),
)
