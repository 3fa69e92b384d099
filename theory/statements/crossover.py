"""E7: the defence noise at which an estimate is half its own spread and half the defence's."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import gaussian_moment
from theory.statements.quadratic_moments import E3_ANTITHETIC, E3_FORWARD
from theory.symbols import symbols

d, mu, V, grad, tr, tr2 = symbols("d mu V grad tr tr2")

_FLAT = Assumption("curvature over the probe radius neglected: F̄ linear")
_LAW = Assumption("u ~ N(0, I_d); V = σ² constant, every query a fresh draw")


def _crossing(moment: sympy.Expr, sigma: sympy.Expr) -> tuple[Step, ...]:
    flat = moment.subs({tr: 0, tr2: 0})
    own = flat.subs(V, 0) - grad**2
    noise = flat - flat.subs(V, 0)
    return (
        gaussian_moment(2, norm=1),
        Step("the estimator's own variance on a linear loss", own, (d + 1) * grad**2),
        Step("the defence's share equals it at σ² = V", noise.subs(V, sigma**2), own),
        Step("solve for σ: the noise is linear in V", sympy.sqrt(own * V / noise), sigma),
    )


E7_FORWARD = mu * grad * sympy.sqrt((d + 1) / (2 * d))
E7_ANTITHETIC = mu * grad * sympy.sqrt(2 * (d + 1) / d)

BOUNDS = (
    Bound(
        label="E7-forward",
        name="crossover, forward",
        statement="defence noise exceeds the estimator's own when σ > μ‖∇F̄‖√((d+1)/(2d))",
        sense="equality",
        status="proven",
        expr=E7_FORWARD,
        assumptions=(_FLAT, _LAW),
        source="derived here",
        steps=lambda: _crossing(E3_FORWARD, E7_FORWARD),
    ),
    Bound(
        label="E7-antithetic",
        name="crossover, antithetic",
        statement="defence noise exceeds the estimator's own when σ > μ‖∇F̄‖√(2(d+1)/d)",
        sense="equality",
        status="proven",
        expr=E7_ANTITHETIC,
        assumptions=(_FLAT, _LAW),
        source="derived here",
        steps=lambda: _crossing(E3_ANTITHETIC, E7_ANTITHETIC),
    ),
)
