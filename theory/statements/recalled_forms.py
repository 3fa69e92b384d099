"""E5: the second-moment bound recalled from the literature: its three readings, failures and replacement."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import gaussian_moment, popoviciu
from theory.mean import Mean
from theory.statements.moment_bounds import (
    E4_ANTITHETIC,
    E4_FORWARD,
    LIPSCHITZ,
    NORMAL,
    SPREAD,
    gaussian_antithetic,
    lipschitz_forward,
)
from theory.statements.second_moments import E2_NOISE_FORWARD, FRESH, forward_square
from theory.symbols import symbols

d, mu, L0, L0f, L0m, nu, Delta, V = symbols("d mu L0 L0f L0m nu Delta V")

_R, _RATIO = sympy.symbols("R r", positive=True)
_THIRD = sympy.Symbol("E‖u‖³", positive=True)

_RECALLED = "recalled form of the PuriDefense second-moment bound (arXiv 2401.10586; from memory, not a quotation)"
_CONE = Assumption("F̄ = L₀‖x‖ at x = 0, forward estimate, u ~ N(0, I_d), V = ν²/4 (two equally likely losses ν apart)")


def gamma(diversity: sympy.Expr, lipschitz: sympy.Expr) -> sympy.Expr:
    """Return γ = 4ν²/μ² + 4(ν/μ)L₀√d + L₀²d."""
    return 4 * diversity**2 / mu**2 + 4 * (diversity / mu) * lipschitz * sympy.sqrt(d) + lipschitz**2 * d


def cone_moment(ratio: sympy.Expr) -> Mean:
    """Return the exact E‖g‖² on the cone with V = ν²/4, ν = ratio·μL₀, unevaluated."""
    signal = Mean((mu * L0 * _R) ** 2 * _R**2, {_R**4: d * (d + 2)})
    noise = d * (ratio * mu * L0) ** 2 / 4
    return forward_square(signal, noise, noise)


def _origin(difference: sympy.Expr, lipschitz: sympy.Expr, factor: sympy.Expr, formula: sympy.Expr) -> tuple[Step, ...]:
    """How the form comes about: the differences 2ν + μL₀‖u‖ with ‖u‖ frozen at √d, although E‖u‖⁴ > d²."""
    answer = (2 * difference / mu + lipschitz * _R) ** 2
    whole = Mean(answer * _R**2, {_R**2: d, _R**3: _THIRD, _R**4: d * (d + 2)})
    lost = 4 * difference / mu * lipschitz * (_THIRD - d ** sympy.Rational(3, 2)) + 2 * d * lipschitz**2
    return (
        gamma_is_a_square(difference, lipschitz),
        gaussian_moment(norm=2),
        Step(
            "what freezing ‖u‖ at √d loses: E‖u‖⁴ − d² = 2d and E‖u‖³ − d^{3/2}",
            whole - d * answer.subs(_R, sympy.sqrt(d)),
            lost,
        ),
        Step(
            "the recalled form: answers at most 2ν + μL₀√d apart, times E‖u‖² = d",
            factor * d * answer.subs(_R, sympy.sqrt(d)),
            formula,
        ),
    )


def gamma_is_a_square(diversity: sympy.Expr, lipschitz: sympy.Expr) -> Step:
    """Assert γ = (2ν/μ + L₀√d)²."""
    return Step("γ is a square", (2 * diversity / mu + lipschitz * sympy.sqrt(d)) ** 2, gamma(diversity, lipschitz))


def _mixed() -> tuple[Step, ...]:
    scale = sympy.Symbol("λ", positive=True)
    scaled = E5_MIXED.subs(L0, scale * L0) / scale**2
    noise = forward_square(sympy.S.Zero, d * scale**2 * V, d * scale**2 * V) / scale**2
    return (
        Step("scale f by λ: a second moment scales by λ², and so does the exact noise", noise, E2_NOISE_FORWARD),
        Step(
            "this form does not: λ⁻² times it, ν at image level unchanged, loses all noise as λ → ∞",
            sympy.Limit(scaled, scale, sympy.oo, "-"),
            d**2 * L0**2,
        ),
        *_origin(nu, L0, sympy.S.One, E5_MIXED),
    )


def _sound() -> tuple[Step, ...]:
    return (
        *gaussian_antithetic(),
        *popoviciu(),
        Step("antithetic: less than the forward bound, V ≤ Δ²/4", E4_ANTITHETIC.subs(V, Delta**2 / 4), E5_SOUND, "≤"),
        *lipschitz_forward(),
        Step("forward: take out d", E4_FORWARD, E5_SOUND),
    )


def _threshold() -> tuple[Step, ...]:
    excess = cone_moment(_RATIO) - E5_LOSS.subs(nu, _RATIO * mu * L0)
    quadratic = 2 - 4 * sympy.sqrt(d) * _RATIO - sympy.Rational(7, 2) * _RATIO**2
    root = (sympy.sqrt(16 * d + 28) - 4 * sympy.sqrt(d)) / 7
    return (
        gaussian_moment(norm=1),
        gaussian_moment(norm=2),
        Step(
            "exact less recalled on the cone, r = ν/(μL₀): a falling quadratic in r",
            excess,
            d * L0**2 * quadratic,
        ),
        Step("its positive root", quadratic.subs(_RATIO, root), sympy.S.Zero),
        Step("the same root without cancellation", root, E5_THRESHOLD),
    )


def _factor() -> tuple[Step, ...]:
    exact = cone_moment(_RATIO).doit()
    allowed = E5_FACTOR * E5_LOSS.subs(nu, _RATIO * mu * L0)
    return (
        gaussian_moment(norm=2),
        Step("(1 + 2/d) times the recalled form covers the exact moment at every r", exact, allowed, "≤"),
        Step("and is needed as r → 0", sympy.Limit(exact / (d**2 * L0**2), _RATIO, 0), E5_FACTOR),
    )


E5_LOSS = d * gamma(nu, L0)
E5_IMAGE = L0f**2 * d * gamma(nu, L0m)
E5_MIXED = d * gamma(nu, L0)
E5_SOUND = d * (L0**2 * (d + 2) + Delta**2 / (2 * mu**2))
E5_THRESHOLD = 4 / (sympy.sqrt(16 * d + 28) + 4 * sympy.sqrt(d))
E5_FACTOR = 1 + 2 / d

BOUNDS = (
    Bound(
        label="E5-loss",
        name="recalled form, ν of the losses",
        statement="E‖g‖² ≤ d·γ, γ = 4ν²/μ² + 4(ν/μ)L₀√d + L₀²d, ν the worst pair of losses",
        sense="upper",
        status="variant",
        expr=E5_LOSS,
        assumptions=(
            LIPSCHITZ,
            FRESH,
            Assumption("ν is the largest difference of two purifiers' losses (loss units)"),
        ),
        source=_RECALLED,
        steps=lambda: _origin(nu, L0, sympy.S.One, E5_LOSS),
    ),
    Bound(
        label="E5-image",
        name="recalled form, ν of the images",
        statement=("E‖g‖² ≤ L₀(f)²·d·γ, γ = 4ν²/μ² + 4(ν/μ)L₀(m)√d + L₀(m)²d, ν the worst pair of purified images"),
        sense="upper",
        status="variant",
        expr=E5_IMAGE,
        assumptions=(Assumption("f is L₀(f)-Lipschitz, every m_k L₀(m)-Lipschitz; ν in image units"), FRESH),
        source=_RECALLED,
        steps=lambda: _origin(nu, L0m, L0f**2, E5_IMAGE),
    ),
    Bound(
        label="E5-mixed",
        name="recalled form, mixed reading (dimensionally wrong)",
        statement=(
            "E‖g‖² ≤ d·γ with ν of the images and L₀ of the loss: adds image units to loss units, not homogeneous in f"
        ),
        sense="upper",
        status="variant",
        expr=E5_MIXED,
        assumptions=(
            LIPSCHITZ,
            FRESH,
            Assumption("f in units that make L₀(f) = 1, the only ones in which the reading means E5-loss"),
        ),
        source=_RECALLED,
        steps=_mixed,
    ),
    Bound(
        label="E5-sound",
        name="sound replacement of the recalled form",
        statement="E‖g‖² ≤ d[L₀²(d+2) + Δ²/(2μ²)], forward or antithetic",
        sense="upper",
        status="proven",
        expr=E5_SOUND,
        assumptions=(NORMAL, FRESH, LIPSCHITZ, SPREAD),
        source="derived here",
        steps=_sound,
    ),
    Bound(
        label="E5-threshold",
        name="where the recalled form fails",
        statement="E5-loss is violated on the cone exactly when ν/(μL₀) < 4/(√(16d+28) + 4√d)",
        sense="equality",
        status="proven",
        expr=E5_THRESHOLD,
        assumptions=(_CONE,),
        source="derived here",
        steps=_threshold,
    ),
    Bound(
        label="E5-factor",
        name="by how much the recalled form fails",
        statement="on the cone E‖g‖² is at most 1 + 2/d times E5-loss",
        sense="upper",
        status="proven",
        expr=E5_FACTOR,
        assumptions=(_CONE,),
        source="derived here",
        steps=_factor,
    ),
)
