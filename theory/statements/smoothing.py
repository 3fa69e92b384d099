"""S1–S3: how far Gaussian smoothing moves a function and its gradient, and how smooth it makes it."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.gamma_ratio import gamma_ratio
from theory.lemmas import (
    cauchy_schwarz,
    gaussian_moment,
    integration_by_parts,
    mean_below_norm,
    mean_norm,
    mean_of_norm,
)
from theory.mean import Mean
from theory.symbols import symbols

d, mu, L0, L1 = symbols("d mu L0 L1")
_R = sympy.Symbol("‖u‖", positive=True)
_LAW = {_R**2: d, _R**4: d * (d + 2)}

_GAUSSIAN = Assumption("F_μ(x) = E F(x + μu) with u ~ N(0, I_d)")
_LIPSCHITZ = Assumption("F is L₀-Lipschitz")
_SMOOTH = Assumption("∇F is L₁-Lipschitz")
_SHIFT = "F is Lipschitz: F(x+μu) − F(x), and its negative alike,"
_TEXTBOOK = "Nesterov and Spokoiny, Random gradient-free minimization of convex functions (2017)"


def _value_shift() -> tuple[Step, ...]:
    return mean_of_norm(mu * L0, _SHIFT)


def _sharp() -> tuple[Step, ...]:
    moment = sympy.Symbol("E‖u‖", nonnegative=True)
    cone = Mean(L0 * mu * _R, {_R: moment})
    mean = mean_norm()
    return (
        mean_below_norm(mu * L0, moment, _SHIFT),
        mean,
        Step(
            "the cone L₀‖x‖ at 0, where F = 0, moves by exactly L₀μ E‖u‖",
            cone.doit().subs(moment, mean.left),
            S1_SHARP,
        ),
    )


def _half_reached() -> tuple[Step, ...]:
    """F = x₁‖x‖ at 0, L₁ = 2: ∂₁F = ‖x‖ + x₁²/‖x‖ moves by at least half the bound."""
    length, part = sympy.symbols("‖u‖ u₁²/‖u‖", positive=True)
    mean, longer, spread = sympy.symbols("E‖u‖ E‖w‖ Var‖w‖", positive=True)
    whole = longer**2 + spread - 1
    moved = Mean(mu * (length + part), {length: mean, part: mean / d})
    return (
        Step("the slope of x₁‖x‖, L₁ = 2, at 0: each u_i²/‖u‖ has the mean E‖u‖/d", moved, mu * mean * (d + 1) / d),
        mean_norm(),
        Step(
            "by this mean norm, E‖u‖·E‖w‖ = d with w Gaussian in d + 1 dimensions",
            sympy.sqrt(2) * gamma_ratio(d) * sympy.sqrt(2) * gamma_ratio(d + 1),
            d,
        ),
        Step(
            "half the bound is no more than this move, μ(d+1)/E‖w‖, both squared and d + 1 = (E‖w‖)² + Var‖w‖",
            (S2_GRADIENT.subs(L1, 2) / 2).subs(d, whole) ** 2,
            (mu * (whole + 1) / longer) ** 2,
            "≤",
        ),
    )


def _gradient_shift() -> tuple[Step, ...]:
    return (
        *_half_reached(),
        Step(
            "the derivative of a mean is the mean of the derivative",
            sympy.Symbol("∇F_μ(x)"),
            sympy.Symbol("E ∇F(x+μu)"),
            reference="G. Folland, Real Analysis (1999), Theorem 2.27",
        ),
        *mean_of_norm(mu * L1, "along any unit v, ⟨v, ∇F(x+μu) − ∇F(x)⟩ ≤ L₁‖μu‖ as ∇F is Lipschitz, so that it"),
    )


def _taylor() -> tuple[Step, ...]:
    s = sympy.Symbol("s", nonnegative=True)
    remainder = sympy.Integral(L1 * s * mu * _R * mu * _R, (s, 0, 1))
    return (
        Step(
            "Taylor: the gradient changes by at most L₁sμ‖u‖ along the segment",
            remainder,
            L1 * mu**2 * _R**2 / 2,
        ),
        gaussian_moment(norm=1),
        Step("mean of the remainder; the linear term has mean 0", Mean(remainder.doit(), _LAW), S1_SMOOTH),
    )


def _textbook_gradient() -> tuple[Step, ...]:
    s = sympy.Symbol("s", nonnegative=True)
    product = Mean(_R**2, _LAW) * Mean(_R**4, _LAW)
    return (
        *integration_by_parts(),
        Step(
            "∇F_μ − ∇F = E[(F(x+μu) − F(x) − μ⟨∇F,u⟩)u]/μ: Taylor's remainder times ‖u‖/μ",
            sympy.Integral(L1 * s * mu * _R * mu * _R, (s, 0, 1)) * _R / mu,
            mu * L1 * _R**3 / 2,
        ),
        gaussian_moment(norm=1),
        gaussian_moment(norm=2),
        cauchy_schwarz(),
        Step("(E‖u‖³)² ≤ E‖u‖² E‖u‖⁴", product, d**2 * (d + 2)),
        Step(
            "the textbook bound over S2-gradient, as a multiple of d/2, for large d",
            sympy.Limit(S2_TEXTBOOK / S2_GRADIENT / (d / 2), d, sympy.oo, "-"),
            sympy.S.One,
        ),
        Step("the textbook rounds this up", mu * L1 / 2 * sympy.sqrt(product.doit()), S2_TEXTBOOK, "≤"),
    )


def _gradient_lipschitz() -> tuple[Step, ...]:
    u, x = sympy.Symbol("u", real=True), sympy.Symbol("x", real=True)
    density = sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi)
    shifted = L0 * sympy.exp(-(x**2) / (2 * mu**2)) / (mu * sympy.sqrt(2 * sympy.pi))
    smoothed = sympy.Integral(2 * shifted.subs(x, u), (u, 0, x))
    return (
        *integration_by_parts(),
        Step(
            "for unit v, w: ∂_v∂_w F_μ = E[⟨∇F(x+μu),w⟩⟨u,v⟩]/μ, at most L₀E|u₁|/μ",
            L0 / mu * sympy.Integral(sympy.Abs(u) * density, (u, -sympy.oo, sympy.oo)),
            S3_LIPSCHITZ,
        ),
        Step(
            "attained by L₀|x₁| at 0, whose smoothed slope is L₀(2Φ(x/μ) − 1)",
            sympy.Subs(sympy.Derivative(smoothed, x), x, 0),
            S3_LIPSCHITZ,
        ),
    )


def _textbook_lipschitz() -> tuple[Step, ...]:
    return (
        *integration_by_parts(),
        *mean_of_norm(
            L0 / mu,
            "for unit v, ⟨v, ∇F_μ(x) − ∇F_μ(y)⟩ = E[(F(x+μu) − F(y+μu))⟨v,u⟩]/μ, where |⟨v,u⟩| ≤ ‖u‖ and F is "
            "Lipschitz: what is averaged, over ‖x−y‖,",
        ),
    )


S1_LIPSCHITZ = mu * L0 * sympy.sqrt(d)
S1_SHARP = mu * L0 * (sympy.sqrt(2) * gamma_ratio(d))
S1_SMOOTH = mu**2 * L1 * d / 2
S2_GRADIENT = mu * L1 * sympy.sqrt(d)
S2_TEXTBOOK = mu * L1 * (d + 3) ** sympy.Rational(3, 2) / 2
S3_LIPSCHITZ = sympy.sqrt(2 / sympy.pi) * L0 / mu
S3_TEXTBOOK = sympy.sqrt(d) * L0 / mu

BOUNDS = (
    Bound(
        label="S1-lipschitz",
        name="smoothing bias, Lipschitz",
        statement="|F_μ(x) − F(x)| ≤ μL₀√d",
        sense="upper",
        status="proven",
        expr=S1_LIPSCHITZ,
        assumptions=(_GAUSSIAN, _LIPSCHITZ),
        source="derived here",
        steps=_value_shift,
    ),
    Bound(
        label="S1-sharp",
        name="smoothing bias, sharp constant",
        statement="|F_μ(x) − F(x)| ≤ μL₀E‖u‖, attained by the cone L₀‖x‖ at 0",
        sense="upper",
        status="proven",
        expr=S1_SHARP,
        assumptions=(_GAUSSIAN, _LIPSCHITZ),
        source="derived here",
        steps=_sharp,
    ),
    Bound(
        label="S1-smooth",
        name="smoothing bias, smooth",
        statement="|F_μ(x) − F(x)| ≤ μ²L₁d/2",
        sense="upper",
        status="proven",
        expr=S1_SMOOTH,
        assumptions=(_GAUSSIAN, _SMOOTH),
        source="derived here",
        steps=_taylor,
    ),
    Bound(
        label="S2-gradient",
        name="gradient bias",
        statement="‖∇F_μ(x) − ∇F(x)‖ ≤ μL₁√d, within a factor 2 of x₁‖x‖ at 0",
        sense="upper",
        status="proven",
        expr=S2_GRADIENT,
        assumptions=(_GAUSSIAN, _SMOOTH),
        source="derived here",
        steps=_gradient_shift,
    ),
    Bound(
        label="S2-textbook",
        name="gradient bias, textbook",
        statement="‖∇F_μ(x) − ∇F(x)‖ ≤ (μ/2)L₁(d+3)^{3/2}, looser than S2-gradient by ~d/2",
        sense="upper",
        status="proven",
        expr=S2_TEXTBOOK,
        assumptions=(_GAUSSIAN, _SMOOTH),
        source=_TEXTBOOK,
        steps=_textbook_gradient,
    ),
    Bound(
        label="S3-lipschitz",
        name="smoothness of the smoothed loss",
        statement="∇F_μ is Lipschitz with constant √(2/π)L₀/μ, tight for L₀|x₁|",
        sense="upper",
        status="proven",
        expr=S3_LIPSCHITZ,
        assumptions=(_GAUSSIAN, _LIPSCHITZ),
        source="derived here",
        steps=_gradient_lipschitz,
    ),
    Bound(
        label="S3-textbook",
        name="smoothness of the smoothed loss, textbook",
        statement="∇F_μ is Lipschitz with constant √d L₀/μ",
        sense="upper",
        status="proven",
        expr=S3_TEXTBOOK,
        assumptions=(_GAUSSIAN, _LIPSCHITZ),
        source=_TEXTBOOK,
        steps=_textbook_lipschitz,
    ),
)
