"""E4: bounds on the second moment from Lipschitz constants and diversity alone."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import (
    cauchy_schwarz,
    gaussian_moment,
    integration_by_parts,
    isoperimetry,
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
SUPREMUM = Assumption("V is a supremum over the queried points")
SPREAD = Assumption("the losses of any two purifiers differ by at most Δ at every queried point")

_R = sympy.Symbol("R", positive=True)
_SLACK, _LOST, _BELOW = sympy.symbols("s E[s‖u‖²] v", nonnegative=True)  # by how much an inequality is not reached


def lipschitz_forward() -> tuple[Step, ...]:
    """E4-forward: |F̄(x+μu) − F̄(x)| ≤ μL₀‖u‖ in the exact second moment, V by Popoviciu."""
    least = Mean(((mu * L0 * _R) ** 2 - _SLACK) * _R**2, {_R**4: d * (d + 2), _SLACK * _R**2: _LOST})
    signal, noise = mu**2 * L0**2 * d * (d + 2) - _LOST, d * (Delta**2 / 4 - _BELOW)
    return (
        gaussian_moment(norm=1),
        gaussian_moment(norm=2),
        Step("F̄ is Lipschitz: (F̄(x+μu) − F̄(x))² = μ²L₀²‖u‖² − s, s ≥ 0, times ‖u‖²", least, signal),
        *popoviciu(),
        Step(
            "both in the exact second moment, with V = Δ²/4 less something at every queried point",
            forward_square(signal, noise, noise),
            E4_FORWARD,
            "≤",
        ),
    )


def _odd_and_lipschitz() -> tuple[Step, ...]:
    """What the signal of a pair, φ(u) = (F̄(x+μu) − F̄(x−μu))/(2μ), inherits from F̄."""
    up, down = sympy.symbols("F̄(x+μu) F̄(x−μu)", real=True)
    distance, one, other = sympy.symbols("‖u−w‖ s_1 s_2", nonnegative=True)
    moved = (mu * L0 * distance - one + mu * L0 * distance - other) / (2 * mu)
    return (
        Step(
            "φ is odd: u ↦ −u exchanges the two answers", (down - up) / (2 * mu) + (up - down) / (2 * mu), sympy.S.Zero
        ),
        Step("φ is L₀-Lipschitz: either answer moves by at most μL₀‖u−w‖", moved, L0 * distance, "≤"),
    )


def _sharp_antithetic(conclusion: sympy.Expr, moment: Step, norm: Step) -> tuple[Step, ...]:
    """E[φ²‖u‖²] ≤ L₀²E[u₁²‖u‖²] for a rotation-invariant u, of which `moment` asserts E[u₁²‖u‖²] and `norm` E‖u‖²."""
    signal, noise = 4 * mu**2 * L0**2 * moment.right, norm.right * V
    return (
        *_odd_and_lipschitz(),
        *isoperimetry(L0),
        moment,
        norm,
        Step(
            "E[φ²‖u‖²] = L₀²E[u₁²‖u‖²] less something, and E[V‖u‖²] = V E‖u‖² less something, V a supremum",
            antithetic_square(signal - 4 * mu**2 * _LOST, noise - _BELOW, noise - _BELOW),
            conclusion,
            "≤",
        ),
        Step(
            "nothing is lost on a linear loss along axis 1, φ = L₀u₁, with the same V everywhere",
            antithetic_square(signal, noise, noise),
            conclusion,
        ),
    )


def gaussian_antithetic() -> tuple[Step, ...]:
    """E4-antithetic: the sharp bound for Gaussian directions."""
    return _sharp_antithetic(E4_ANTITHETIC, gaussian_moment(2, norm=1), gaussian_moment(norm=1))


def _sphere_antithetic() -> tuple[Step, ...]:
    radius = sympy.Symbol("‖u‖²", positive=True)
    moment = Step(
        "on the sphere d coordinates share ‖u‖² = d equally: E[u₁²‖u‖²] = E‖u‖⁴/d",
        Mean(radius * radius / d, {radius**2: d**2}),
        d,
    )
    coordinate = sympy.Symbol("u_i²", nonnegative=True)
    return _sharp_antithetic(E4_SPHERE, moment, Step("and E‖u‖² = d E u_i²", d * Mean(coordinate, {coordinate: 1}), d))


def _poincare_antithetic() -> tuple[Step, ...]:
    """With φ = (F̄(x+μu) − F̄(x−μu))/(2μ): odd, ‖∇φ‖ ≤ L₀, X = E[φ²‖u‖²]."""
    phi, slope = sympy.symbols("φ uᵀ∇φ", real=True)
    X, s, less, lower = sympy.symbols("X s a b", nonnegative=True)
    along, function = sympy.Symbol("u_i", real=True), sympy.Function("φ")
    value, root = function(along), L0 * (1 + sympy.sqrt(d + 1))
    largest = d * L0**2 + 2 * L0 * sympy.sqrt(X)
    law = {phi**2: L0**2 - less, phi * slope: L0 * sympy.sqrt(X) - lower}
    signal, noise = (2 * mu * root) ** 2 - 4 * mu**2 * _LOST, d * V - _BELOW
    return (
        *_odd_and_lipschitz(),
        *integration_by_parts(),
        Step(
            "by parts along each axis, E[u_i·u_iφ²] is the mean of this slope: added up, X = E[dφ² + 2φ⟨u,∇φ⟩]",
            sympy.Derivative(along * value**2, along),
            value**2 + 2 * value * along * sympy.Derivative(value, along),
        ),
        *poincare(),
        cauchy_schwarz(),
        Step(
            "Eφ² = L₀² − a (Poincaré, φ odd, ‖∇φ‖ ≤ L₀) and E[φ⟨u,∇φ⟩] = L₀√X − b (at most L₀E|φ|‖u‖, Cauchy–Schwarz) "
            "with a, b ≥ 0",
            Mean(d * phi**2 + 2 * phi * slope, law),
            largest,
            "≤",
        ),
        Step("X ≤ dL₀² + 2L₀√X bounds √X by the positive root", root**2, largest.subs(X, root**2)),
        Step(
            ("beyond the root, √X = root + s, the inequality fails: X − dL₀² − 2L₀√X = s² + 2s(root − L₀) > 0"),
            (root + s) ** 2 - d * L0**2 - 2 * L0 * (root + s),
            s**2 + 2 * s * (root - L0),
        ),
        gaussian_moment(norm=1),
        Step(
            "insert into the exact second moment, E[V‖u‖²] = dV less something",
            antithetic_square(signal, noise, noise),
            E4_POINCARE,
            "≤",
        ),
        Step("by this much looser than E4-antithetic", E4_ANTITHETIC + 2 * sympy.sqrt(d + 1) * L0**2, E4_POINCARE),
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
    half, coin = sympy.symbols("m−(a+b)/2 B", real=True)
    excess, fair = (low + Delta - middle) * (middle - low), {coin: sympy.S.Half, coin**2: sympy.S.Half}
    return (
        *popoviciu(),
        Step(
            "an interval of length b − a = Δ",
            excess.subs(middle, low + Delta / 2 + half),
            Delta**2 / 4 - half**2,
        ),
        Step("drop the square", Delta**2 / 4 - half**2, E4_POPOVICIU, "≤"),
        Step(
            "reached by two equally likely values, a + BΔ with B = 0 or 1: the mean square less the square of the mean",
            Mean((low + coin * Delta) ** 2, fair) - Mean(low + coin * Delta, fair) ** 2,
            E4_POPOVICIU,
        ),
    )


def _diversity() -> tuple[Step, ...]:
    distance = sympy.Symbol("‖m_ξ−m_ζ‖", nonnegative=True)
    square = Mean(((L0f * distance) ** 2 - _SLACK) / 2, {distance**2: nu2**2, _SLACK: _LOST})
    return (
        variance_of_a_difference(),
        Step(
            "V = ½E(F_ξ − F_ζ)², and f is Lipschitz: (F_ξ − F_ζ)² = L₀(f)²‖m_ξ − m_ζ‖² − s with s ≥ 0",
            square,
            E4_DIVERSITY,
            "≤",
        ),
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
E4_ANTITHETIC = (d + 2) * L0**2 + d * V / (2 * mu**2)
E4_SPHERE = d * L0**2 + d * V / (2 * mu**2)
E4_POINCARE = L0**2 * (1 + sympy.sqrt(d + 1)) ** 2 + d * V / (2 * mu**2)
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
        statement="E‖g‖² ≤ (d+2)L₀² + dV/(2μ²), O(d), reached by linear losses",
        sense="upper",
        status="proven",
        expr=E4_ANTITHETIC,
        assumptions=(NORMAL, FRESH, LIPSCHITZ, SUPREMUM),
        source="derived here",
        steps=gaussian_antithetic,
    ),
    Bound(
        label="E4-antithetic-sphere",
        name="second moment of a Lipschitz loss, antithetic, directions on the sphere",
        statement="E‖g‖² ≤ dL₀² + dV/(2μ²), O(d), reached by linear losses",
        sense="upper",
        status="proven",
        expr=E4_SPHERE,
        assumptions=(Assumption("u uniform on the sphere of radius √d"), FRESH, LIPSCHITZ, SUPREMUM),
        source="derived here",
        steps=_sphere_antithetic,
    ),
    Bound(
        label="E4-antithetic-poincare",
        name="second moment of a Lipschitz loss, antithetic, by Poincaré's inequality",
        statement="E‖g‖² ≤ L₀²(1+√(d+1))² + dV/(2μ²), looser than E4-antithetic by 2√(d+1)L₀²",
        sense="upper",
        status="proven",
        expr=E4_POINCARE,
        assumptions=(NORMAL, FRESH, LIPSCHITZ, SUPREMUM),
        source="derived here",
        steps=_poincare_antithetic,
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
