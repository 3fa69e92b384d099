"""C6: how an attacker answers a random defence, by the choice of the smoothing radius."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import gaussian_moment, jensen
from theory.mean import Mean
from theory.symbols import symbols

d, mu, L0, V, eps = symbols("d mu L0 V eps")

_R = sympy.Symbol("‖u‖", positive=True)


def _radius() -> tuple[Step, ...]:
    """The largest μ that S1 allows, which is the best: the defence's noise falls as μ grows."""
    shift = sympy.sqrt(Mean((mu * L0 * _R) ** 2, {_R**2: d}))
    noise = d * V / (2 * mu**2)
    return (
        Step("the noise of an antithetic estimate falls in μ", sympy.Derivative(noise, mu), -d * V / mu**3),
        gaussian_moment(norm=1),
        jensen(),
        Step("S1: smoothing moves an L₀-Lipschitz loss by at most", shift, mu * L0 * sympy.sqrt(d)),
        Step("which is linear in μ and reaches the tolerance ε at, or later", C6_RADIUS, eps * mu / shift),
    )


C6_RADIUS = eps / (L0 * sympy.sqrt(d))

BOUNDS = (
    Bound(
        label="C6-radius",
        name="best response, Lipschitz loss",
        statement="a Lipschitz loss is moved by at most ε by smoothing up to μ = ε/(L₀√d), the attacker's best radius",
        sense="lower",
        status="proven",
        expr=C6_RADIUS,
        assumptions=(Assumption("F̄_μ(x) = E F̄(x + μu) with u ~ N(0, I_d)"), Assumption("F̄ is L₀-Lipschitz")),
        source="derived here",
        steps=_radius,
    ),
)
