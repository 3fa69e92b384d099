"""C6: how large a smoothing radius an attacker may choose, and that a larger one is better whatever the noise."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import mean_of_norm
from theory.statements.moment_bounds import E4_ANTITHETIC
from theory.statements.second_moments import E2_NOISE_FORWARD
from theory.statements.smoothing import S1_LIPSCHITZ, S3_LIPSCHITZ
from theory.symbols import symbols

d, mu, L0, V, eps = symbols("d mu L0 V eps")


def _slope_in_radius(moment: sympy.Expr, slope: sympy.Expr, name: str) -> tuple[Step, ...]:
    """L_μM² falls in μ, whatever V is: L_μ bounds the Lipschitz constant of ∇F̄_μ (S3), M² the second moment E‖g‖².

    Over T steps of the best constant size the mean of E‖∇F̄_μ‖² is at most √(2RL_μM²/T), R = F̄_μ(x₀) − inf F̄_μ:
    Nesterov and Spokoiny, Random gradient-free minimization of convex functions (2017), section 7.
    """
    return (
        Step(
            f"{name}: the slope in μ of L_μM², on which the bound √(2RL_μM²/T) on E‖∇F̄_μ‖² after T steps depends",
            sympy.Derivative(S3_LIPSCHITZ * moment, mu),
            slope,
        ),
        Step("is negative: the larger the radius, the fewer steps the bound asks for", slope, sympy.S.Zero, "≤"),
    )


def _radius() -> tuple[Step, ...]:
    """The largest radius at which S1 keeps the smoothed loss within ε of the loss; a larger one is always better."""
    scale = -sympy.sqrt(2 / sympy.pi) * L0 / mu**2
    slack = sympy.Symbol("s", nonnegative=True)
    return (
        *_slope_in_radius(E4_ANTITHETIC, scale * ((d + 2) * L0**2 + 3 * d * V / (2 * mu**2)), "antithetic (E4, S3)"),
        *_slope_in_radius(
            d * (d + 2) * L0**2 + E2_NOISE_FORWARD,
            scale * (d * (d + 2) * L0**2 + 6 * d * V / mu**2),
            "forward (E4, E2, S3)",
        ),
        *mean_of_norm(mu * L0, "S1: F̄ is Lipschitz, F̄(x+μu) − F̄(x), and its negative alike,"),
        Step("at this radius that bound is the tolerance", sympy.Subs(S1_LIPSCHITZ, mu, C6_RADIUS), eps),
        Step(
            "a radius μ at which a loss is moved by exactly ε = μL₀√d − s, s ≥ 0, is no smaller",
            C6_RADIUS,
            (eps + slack) / (L0 * sympy.sqrt(d)),
            "≤",
        ),
    )


C6_RADIUS = eps / (L0 * sympy.sqrt(d))

BOUNDS = (
    Bound(
        label="C6-radius",
        name="largest radius within a tolerance, Lipschitz loss",
        statement=(
            "smoothing moves no L₀-Lipschitz loss by ε before μ = ε/(L₀√d); up to there a larger μ is better: L_μM², "
            "on which the bound √(2RL_μM²/T) on the mean E‖∇F̄_μ‖² over T steps depends, falls in μ"
        ),
        sense="lower",
        status="proven",
        expr=C6_RADIUS,
        assumptions=(Assumption("F̄_μ(x) = E F̄(x + μu) with u ~ N(0, I_d)"), Assumption("F̄ is L₀-Lipschitz")),
        source="derived here",
        steps=_radius,
    ),
)
