"""E4: bounds on the second moment from Lipschitz constants and diversity alone."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import (
    cauchy_schwarz,
    gaussian_moment,
    integration_by_parts,
    poincare,
    popoviciu,
    variance_of_a_difference,
)
from theory.mean import Mean
from theory.statements.second_moments import FRESH, antithetic_square, forward_square
from theory.symbols import symbols

d, mu, L0, V, Delta, L0f, nu, nu2, K = symbols("d mu L0 V Delta L0f nu nu2 K")

NORMAL = Assumption("u ~ N(0, I_d)")
LIPSCHITZ = Assumption("F̄ is L₀-Lipschitz")
_SUPREMUM = Assumption("V is a supremum over the queried points")
SPREAD = Assumption("the losses of any two purifiers differ by at most Δ at every queried point")

_R = sympy.Symbol("R", positive=True)


def lipschitz_forward() -> tuple[Step, ...]:
    """E4-forward: |F̄(x+μu) − F̄(x)| ≤ μL₀‖u‖ in the exact second moment, V by Popoviciu."""
    signal = Mean((mu * L0 * _R) ** 2 * _R**2, {_R**4: d * (d + 2)})
    noise = d * Delta**2 / 4
    return (
        gaussian_moment(norm=1),
        gaussian_moment(norm=2),
        Step("signal moment of an L₀-Lipschitz loss at most", signal, mu**2 * L0**2 * d * (d + 2)),
        *popoviciu(),
        Step("insert both into the exact second moment", forward_square(signal, noise, noise), E4_FORWARD),
    )


def _lipschitz_antithetic() -> tuple[Step, ...]:
    """With φ = (F̄(x+μu) − F̄(x−μu))/(2μ): odd, ‖∇φ‖ ≤ L₀, X = E[φ²‖u‖²]."""
    phi, slope = sympy.symbols("φ uᵀ∇φ", real=True)
    X, s = sympy.symbols("X s", nonnegative=True)
    parts = Mean(d * phi**2 + 2 * phi * slope, {phi**2: L0**2, phi * slope: L0 * sympy.sqrt(X)})
    root = L0 * (1 + sympy.sqrt(d + 1))
    signal = (2 * mu * root) ** 2
    return (
        integration_by_parts(),
        poincare(),
        cauchy_schwarz(),
        Step(
            ("by parts X = E[dφ² + 2φ⟨u,∇φ⟩]; Eφ² ≤ L₀² (Poincaré, φ odd), E|φ⟨u,∇φ⟩| ≤ L₀E|φ|‖u‖ ≤ L₀√X"),
            parts,
            d * L0**2 + 2 * L0 * sympy.sqrt(X),
        ),
        Step("X ≤ dL₀² + 2L₀√X bounds √X by the positive root", root**2, parts.doit().subs(X, root**2)),
        Step(
            ("beyond the root, √X = root + s, the inequality fails: X − dL₀² − 2L₀√X = s² + 2s(root − L₀) > 0"),
            (root + s) ** 2 - d * L0**2 - 2 * L0 * (root + s),
            s**2 + 2 * s * (root - L0),
        ),
        gaussian_moment(norm=1),
        Step("insert into the exact second moment", antithetic_square(signal, d * V, d * V), E4_ANTITHETIC),
    )


def _noise() -> tuple[Step, ...]:
    variance = d * Delta**2 / 4
    square = antithetic_square(sympy.S.Zero, variance, variance)
    return (
        *popoviciu(),
        gaussian_moment(norm=1),
        Step("Δ²/4 for V in the antithetic noise", square, E4_NOISE),
    )


def _popoviciu() -> tuple[Step, ...]:
    low, middle = sympy.symbols("a m", real=True)
    half = sympy.Symbol("m − (a+b)/2", real=True)
    excess = (low + Delta - middle) * (middle - low)
    return (
        *popoviciu(),
        Step(
            "an interval of length b − a = Δ",
            excess.subs(middle, low + Delta / 2 + half),
            Delta**2 / 4 - half**2,
        ),
        Step("drop the square", Delta**2 / 4 - half**2, E4_POPOVICIU, "≤"),
    )


def _diversity() -> tuple[Step, ...]:
    distance = sympy.Symbol("‖m_ξ−m_ζ‖", nonnegative=True)
    square = Mean((L0f * distance) ** 2 / 2, {distance**2: nu2**2})
    return (
        variance_of_a_difference(),
        Step("V = ½E(F_ξ − F_ζ)², |F_ξ − F_ζ| ≤ L₀(f)‖m_ξ − m_ζ‖", square, E4_DIVERSITY),
    )


def _pairs() -> tuple[Step, ...]:
    p = sympy.Symbol("p", real=True)
    excess = sympy.Symbol("Σp² − 1/K", nonnegative=True)
    squares = Mean((p - 1 / K) ** 2, {p: 1 / K, p**2: (excess + 1 / K) / K})
    pair = sympy.Symbol("j", integer=True)
    return (
        Step("for weights p_k, Σp_k² − 1/K is K times the mean of (p_k − 1/K)² ≥ 0", K * squares, excess),
        Step(
            "uniform weights, K(K−1) of K² ordered pairs differ: 1 − Σp_k² = 1 − 1/K",
            sympy.Sum(1 / K**2, (pair, 1, K * (K - 1))),
            1 - 1 / K,
        ),
        Step(
            "pairs that differ have mass 1 − Σp_k², each at most ν apart",
            (1 - excess - 1 / K) * nu**2,
            E4_PAIRS,
            "≤",
        ),
    )


E4_FORWARD = L0**2 * d * (d + 2) + d * Delta**2 / (2 * mu**2)
E4_ANTITHETIC = L0**2 * (1 + sympy.sqrt(d + 1)) ** 2 + d * V / (2 * mu**2)
E4_NOISE = d * Delta**2 / (8 * mu**2)
E4_POPOVICIU = Delta**2 / 4
E4_DIVERSITY = L0f**2 * nu2**2 / 2
E4_PAIRS = (1 - 1 / K) * nu**2

BOUNDS = (
    Bound(
        label="E4-forward",
        name="second moment of a Lipschitz loss, forward",
        statement="E‖g‖² ≤ L₀²d(d+2) + dΔ²/(2μ²)",
        sense="upper",
        status="proven",
        expr=E4_FORWARD,
        assumptions=(NORMAL, FRESH, LIPSCHITZ, SPREAD),
        source="derived here",
        steps=lipschitz_forward,
    ),
    Bound(
        label="E4-antithetic",
        name="second moment of a Lipschitz loss, antithetic",
        statement="E‖g‖² ≤ L₀²(1+√(d+1))² + dV/(2μ²), O(d)",
        sense="upper",
        status="proven",
        expr=E4_ANTITHETIC,
        assumptions=(NORMAL, FRESH, LIPSCHITZ, _SUPREMUM),
        source="derived here",
        steps=_lipschitz_antithetic,
    ),
    Bound(
        label="E4-noise",
        name="noise from the loss-level diversity, antithetic",
        statement="the defence adds at most dΔ²/(8μ²) to E‖g‖²",
        sense="upper",
        status="proven",
        expr=E4_NOISE,
        assumptions=(NORMAL, FRESH, SPREAD),
        source="derived here",
        steps=_noise,
    ),
    Bound(
        label="E4-popoviciu",
        name="variance from the range",
        statement="V ≤ Δ²/4, attained by two equally likely values",
        sense="upper",
        status="proven",
        expr=E4_POPOVICIU,
        assumptions=(SPREAD,),
        source="derived here; Popoviciu (1935)",
        steps=_popoviciu,
    ),
    Bound(
        label="E4-diversity",
        name="variance from the diversity",
        statement="V ≤ L₀(f)²ν₂²/2 with the root mean-square diversity ν₂",
        sense="upper",
        status="proven",
        expr=E4_DIVERSITY,
        assumptions=(Assumption("f is L₀(f)-Lipschitz; ν₂² = E‖m_ξ − m_ζ‖² for independent ξ, ζ"),),
        source="derived here",
        steps=_diversity,
    ),
    Bound(
        label="E4-pairs",
        name="mean-square from worst-pair diversity",
        statement="ν₂² ≤ (1 − 1/K)ν²",
        sense="upper",
        status="proven",
        expr=E4_PAIRS,
        assumptions=(Assumption("ξ and ζ independent, any one law on K purifiers; ν their worst pair"),),
        source="derived here",
        steps=_pairs,
    ),
)
