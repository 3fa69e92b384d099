"""C6: how an attacker answers a random defence, by the choice of the smoothing radius."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import mean_of_norm
from theory.statements.moment_bounds import E4_ANTITHETIC
from theory.statements.second_moments import E2_NOISE_FORWARD
from theory.statements.smoothing import S1_LIPSCHITZ, S3_LIPSCHITZ
from theory.symbols import symbols

d, mu, L0, V, eps = symbols("d mu L0 V eps")


def _slope_in_radius(moment: sympy.Expr, slope: sympy.Expr, name: str) -> tuple[Step, ...]:
    """M²L_μ, to which C2's bound on the steps is proportional, falls in μ, whatever V is."""
    return (
        Step(f"{name}: the slope of M²L_μ in μ", sympy.Derivative(S3_LIPSCHITZ * moment, mu), slope),
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
        name="best response, Lipschitz loss",
        statement=(
            "smoothing moves no L₀-Lipschitz loss by ε before μ = ε/(L₀√d); a Lipschitz bound on the steps falls in μ"
        ),
        sense="lower",
        status="proven",
        expr=C6_RADIUS,
        assumptions=(Assumption("F̄_μ(x) = E F̄(x + μu) with u ~ N(0, I_d)"), Assumption("F̄ is L₀-Lipschitz")),
        source="derived here",
        steps=_radius,
    ),
)
