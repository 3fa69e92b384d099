"""E2: the exact second moment of an estimate of a randomised loss, and what its noise costs per query."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import gaussian_moment
from theory.mean import Mean, independent
from theory.statements.estimator_means import unbiased
from theory.symbols import symbols

d, q, mu, V, N, S, W, M, grad_mu = symbols("d q mu V N S W M grad_mu")

GAUSSIAN = Assumption("u ~ N(0, I_d) (or any law with E uuᵀ = I for the noise terms)")
FRESH = Assumption("every query draws the defence afresh, independent of u and of every other query")
CONSTANT = Assumption("V is constant over the queried points")
_EVEN = Assumption("N is even: two queries a direction", sympy.Eq(sympy.Mod(N, 2), 0))
_SQUARE = Assumption("E‖g‖² ≥ ‖E g‖² = ‖∇F̄_μ‖²", grad_mu**2 <= M)
_SHARED = Assumption("N ≥ 2: one query is the shared baseline", N >= 2)

# Random symbols: difference of mean losses, noise of the two answers, ‖u‖.
_D, _PLUS, _MINUS, _R = sympy.symbols("D n_1 n_2 R", real=True)


def _law(signal: sympy.Expr, plus: sympy.Expr, minus: sympy.Expr) -> dict:
    """Monomials of (D + n₁ − n₂)²‖u‖²: the noises have mean 0 given u and are independent of each other."""
    crossed = {_D * _PLUS * _R**2: 0, _D * _MINUS * _R**2: 0, _PLUS * _MINUS * _R**2: 0}
    return {_D**2 * _R**2: signal, _PLUS**2 * _R**2: plus, _MINUS**2 * _R**2: minus, **crossed}


def forward_square(signal: sympy.Expr, plus: sympy.Expr, minus: sympy.Expr) -> Mean:
    """Return E‖g‖² of the forward estimate, unevaluated, from the moments of its three parts."""
    return Mean(((_D + _PLUS - _MINUS) * _R / mu) ** 2, _law(signal, plus, minus))


def antithetic_square(signal: sympy.Expr, plus: sympy.Expr, minus: sympy.Expr) -> Mean:
    """Return E‖g‖² of the antithetic estimate, unevaluated, from the moments of its three parts."""
    return Mean(((_D + _PLUS - _MINUS) * _R / (2 * mu)) ** 2, _law(signal, plus, minus))


def _noise(square: Mean, formula: sympy.Expr) -> tuple[Step, ...]:
    return (
        gaussian_moment(norm=1),
        Step("second moment with the signal taken away; E[V‖u‖²] = dV", square, formula),
    )


def _budget(square: Mean, directions: sympy.Expr, noise: sympy.Expr, formula: sympy.Expr) -> tuple[Step, ...]:
    steps = _noise(square, noise)
    return (*steps, Step("independent directions average it", square / directions, formula))


def _shared() -> tuple[Step, ...]:
    """One coordinate of two directions that share a noisy baseline n₀; g is the slope of F̄_μ along it."""
    D1, D2, n1, n2, u1, u2 = sympy.symbols("D_1 D_2 n_1 n_2 u_1 u_2", real=True)
    baseline, slope = sympy.symbols("n_0 g", real=True)
    one, other = ({D * u: mu * slope, n * u: 0, u: 0} for D, n, u in ((D1, n1, u1), (D2, n2, u2)))
    law = independent(one, other, {baseline: 0, baseline**2: V})
    crossed = Mean((D1 + n1 - baseline) * u1 * (D2 + n2 - baseline) * u2 / mu**2, law)
    return (
        *unbiased(),
        Step(
            "two directions, one coordinate: E[D u] = μg as just shown, the baseline's variance meets E u₁ E u₂ = 0",
            crossed,
            slope**2,
        ),
        Step(
            "q squares, and q(q−1) cross terms, each Σg² = ‖∇F̄_μ‖² over the coordinates",
            (q * M + q * (q - 1) * grad_mu**2) / q**2,
            E2_SHARED,
        ),
    )


def _shared_budget() -> tuple[Step, ...]:
    n1, n2, baseline, R1, product = sympy.symbols("n_1 n_2 n_0 R_1 u₁ᵀu₂", real=True)
    law = {
        **dict.fromkeys((n1**2 * R1**2, baseline**2 * R1**2), d * V),
        n1 * baseline * R1**2: 0,
    }
    pair = dict.fromkeys(
        (n1 * n2 * product, n1 * baseline * product, n2 * baseline * product, baseline**2 * product), 0
    )
    square = Mean(((n1 - baseline) * R1 / mu) ** 2, law)
    crossed = Mean((n1 - baseline) * (n2 - baseline) * product / mu**2, pair)
    q_noise = (q * square + q * (q - 1) * crossed) / q**2
    return (
        gaussian_moment(norm=1),
        Step("noise of q directions that share one baseline", q_noise, 2 * d * V / (q * mu**2)),
        Step("N = q + 1 queries", q_noise.subs(q, N - 1), E2_BUDGET_SHARED),
    )


E2_FORWARD = (S + W + d * V) / mu**2
E2_ANTITHETIC = (S + 2 * W) / (4 * mu**2)
E2_NOISE_FORWARD = 2 * d * V / mu**2
E2_NOISE_ANTITHETIC = d * V / (2 * mu**2)
E2_SHARED = grad_mu**2 + (M - grad_mu**2) / q
E2_BUDGET_FORWARD = 4 * d * V / (N * mu**2)
E2_BUDGET_SHARED = 2 * d * V / ((N - 1) * mu**2)
E2_BUDGET_ANTITHETIC = d * V / (N * mu**2)

_FORWARD_NOISE = forward_square(sympy.S.Zero, d * V, d * V)
_ANTITHETIC_NOISE = antithetic_square(sympy.S.Zero, d * V, d * V)

BOUNDS = (
    Bound(
        label="E2-forward",
        name="second moment, forward",
        statement="E‖g‖² = μ⁻²{S + W + dV(x)}, S = E[(F̄(x+μu) − F̄(x))²‖u‖²], W = E[V(x+μu)‖u‖²]",
        sense="equality",
        status="proven",
        expr=E2_FORWARD,
        assumptions=(GAUSSIAN, FRESH),
        source="derived here",
        steps=lambda: (
            gaussian_moment(norm=1),
            Step("average over the defence, then over u", forward_square(S, W, d * V), E2_FORWARD),
        ),
    ),
    Bound(
        label="E2-antithetic",
        name="second moment, antithetic",
        statement="E‖g‖² = (S + 2W)/(4μ²), S = E[(F̄(x+μu) − F̄(x−μu))²‖u‖²], W = E[V(x+μu)‖u‖²]",
        sense="equality",
        status="proven",
        expr=E2_ANTITHETIC,
        assumptions=(GAUSSIAN, FRESH, Assumption("u and −u have the same law, so E[V(x−μu)‖u‖²] = W")),
        source="derived here",
        steps=lambda: (Step("average over the defence, then over u", antithetic_square(S, W, W), E2_ANTITHETIC),),
    ),
    Bound(
        label="E2-noise-forward",
        name="noise of one direction, forward",
        statement="the defence adds 2dV/μ² to E‖g‖²",
        sense="equality",
        status="proven",
        expr=E2_NOISE_FORWARD,
        assumptions=(GAUSSIAN, FRESH, CONSTANT),
        source="derived here",
        steps=lambda: _noise(_FORWARD_NOISE, E2_NOISE_FORWARD),
    ),
    Bound(
        label="E2-noise-antithetic",
        name="noise of one direction, antithetic",
        statement="the defence adds dV/(2μ²) to E‖g‖²",
        sense="equality",
        status="proven",
        expr=E2_NOISE_ANTITHETIC,
        assumptions=(GAUSSIAN, FRESH, CONSTANT),
        source="derived here",
        steps=lambda: _noise(_ANTITHETIC_NOISE, E2_NOISE_ANTITHETIC),
    ),
    Bound(
        label="E2-shared",
        name="averaging q directions, one shared baseline",
        statement=("E‖ḡ‖² = ‖∇F̄_μ‖² + (E‖g‖² − ‖∇F̄_μ‖²)/q, with one noisy baseline as with independent ones"),
        sense="equality",
        status="proven",
        expr=E2_SHARED,
        assumptions=(Assumption("u_1..u_q independent N(0, I_d)"), FRESH, _SQUARE),
        source="derived here",
        steps=_shared,
    ),
    Bound(
        label="E2-budget-forward",
        name="noise per N queries, forward",
        statement="N/2 unshared pairs leave the noise 4dV/(Nμ²) in E‖ḡ‖²",
        sense="equality",
        status="proven",
        expr=E2_BUDGET_FORWARD,
        assumptions=(GAUSSIAN, FRESH, CONSTANT, _EVEN),
        source="derived here",
        steps=lambda: _budget(_FORWARD_NOISE, N / 2, E2_NOISE_FORWARD, E2_BUDGET_FORWARD),
    ),
    Bound(
        label="E2-budget-shared",
        name="noise per N queries, shared baseline",
        statement="N−1 directions and one shared baseline leave the noise 2dV/((N−1)μ²) in E‖ḡ‖²",
        sense="equality",
        status="proven",
        expr=E2_BUDGET_SHARED,
        assumptions=(GAUSSIAN, FRESH, CONSTANT, _SHARED),
        source="derived here",
        steps=_shared_budget,
    ),
    Bound(
        label="E2-budget-antithetic",
        name="noise per N queries, antithetic",
        statement="N/2 antithetic pairs leave the noise dV/(Nμ²) in E‖ḡ‖²",
        sense="equality",
        status="proven",
        expr=E2_BUDGET_ANTITHETIC,
        assumptions=(GAUSSIAN, FRESH, CONSTANT, _EVEN),
        source="derived here",
        steps=lambda: _budget(_ANTITHETIC_NOISE, N / 2, E2_NOISE_ANTITHETIC, E2_BUDGET_ANTITHETIC),
    ),
)
