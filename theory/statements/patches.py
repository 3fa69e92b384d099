"""P1: what drawing a purifier per patch, rather than one per image, does to diversity and variance."""

import itertools

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import jensen
from theory.mean import Mean
from theory.symbols import symbols, total

P, V, nu_p, V_p = symbols("P V nu_p V_p")

_CUT = Assumption("patches are cut from the purifiers' full-image outputs")
_INDEPENDENT = Assumption("each patch draws its purifier independently, by the law that the whole image would")
_LINEAR = Assumption("f is linear in the patch outputs: F = Σ_p a_p")

_PURIFIERS, _PATCHES = 3, 2


def _outputs() -> list[list[sympy.Symbol]]:
    """One free symbol per purifier and patch: an instance with K = 3, P = 2 and arbitrary values."""
    return [[sympy.Symbol(f"a_{k}{p}", real=True) for p in range(_PATCHES)] for k in range(_PURIFIERS)]


def _average(values: list[sympy.Expr]) -> sympy.Expr:
    return sympy.Add(*values) / len(values)


def _assignments() -> list[tuple[int, ...]]:
    return list(itertools.product(range(_PURIFIERS), repeat=_PATCHES))


def _mean_square_distance(draws: list[tuple[int, ...]]) -> sympy.Expr:
    """E‖m_ξ − m_ζ‖² by enumerating all pairs of draws, a draw being one purifier per patch."""
    a = _outputs()
    distances = [
        sympy.Add(*((a[k][p] - a[j][p]) ** 2 for p, (k, j) in enumerate(zip(one, other, strict=True))))
        for one, other in itertools.product(draws, repeat=2)
    ]
    return _average(distances)


def _variance(values: list[sympy.Expr]) -> sympy.Expr:
    return _average([value**2 for value in values]) - _average(values) ** 2


def _diversity() -> tuple[Step, ...]:
    whole_image = [(k,) * _PATCHES for k in range(_PURIFIERS)]
    twice_trace = 2 * sympy.Add(*(_variance([row[p] for row in _outputs()]) for p in range(_PATCHES)))
    return (
        Step(
            ("one purifier per image, K = 3, P = 2, any outputs, all pairs: ν₂² is twice the trace of the covariance"),
            _mean_square_distance(whole_image),
            twice_trace,
        ),
        Step(
            "one purifier per patch, all pairs of assignments: the same",
            _mean_square_distance(_assignments()),
            twice_trace,
        ),
        _by_linearity(
            "the squared distance is a sum over patches, each with the law of its own pair",
            nu_p**2,
            P1_DIVERSITY,
        ),
    )


def _by_linearity(text: str, entry: sympy.Expr, formula: sympy.Expr) -> Step:
    """P times the mean over a patch drawn uniformly is the sum over patches."""
    drawn = sympy.Symbol("X_p", real=True)
    return Step(text, P * Mean(drawn, {drawn: total(entry, P) / P}), formula)


def _worst() -> tuple[Step, ...]:
    gaps = [sympy.symbols(f"a_{p} b_{p}", nonnegative=True) for p in range(_PATCHES)]
    ladders = [(sympy.S.Zero, a, a + b) for a, b in gaps]
    joint = sympy.Max(*(sympy.Add(*pick) for pick in itertools.product(*ladders)), evaluate=False)
    apart = sympy.Add(*(sympy.Max(*ladder, evaluate=False) for ladder in ladders))
    return (
        Step(
            ("squared distances of three pairs per patch, P = 2: the largest sum is the sum of the largest"),
            joint,
            apart,
        ),
        Step(
            "an assignment is free to take the worst pair in every patch",
            sympy.sqrt(P * Mean(sympy.Symbol("X_p"), {sympy.Symbol("X_p"): total(nu_p**2, P) / P})),
            P1_WORST,
        ),
    )


def _variance_adds() -> tuple[Step, ...]:
    a = _outputs()
    losses = [sympy.Add(*(a[k][p] for p, k in enumerate(draw))) for draw in _assignments()]
    apart = sympy.Add(*(_variance([row[p] for row in a]) for p in range(_PATCHES)))
    return (
        Step(
            "by enumeration for K = 3, P = 2, any effects: the variance is the sum over patches",
            _variance(losses),
            apart,
        ),
        _by_linearity("independent patches: variances add", V_p, P1_VARIANCE),
    )


def _ratio() -> tuple[Step, ...]:
    whole, residual = sympy.symbols("Σx_p r_p", real=True)
    spread = sympy.Symbol("E r_p²", nonnegative=True)
    law = {whole**2: V, whole * residual: 0, residual**2: spread}
    return (
        jensen(),
        Step(
            (
                "at a patch drawn uniformly the centred effect is Σx_p/P + r_p, E r_p = 0: P times "
                "its mean square, Σ_p V_p, is at least V/P"
            ),
            P1_RATIO,
            P * Mean((whole / P + residual) ** 2, law),
            "≤",
        ),
    )


P1_DIVERSITY = total(nu_p**2, P)
P1_WORST = sympy.sqrt(total(nu_p**2, P))
P1_VARIANCE = total(V_p, P)
P1_RATIO = V / P

BOUNDS = (
    Bound(
        label="P1-diversity",
        name="mean-square diversity, patch-wise",
        statement=(
            "patch-wise ν₂² = Σ_p ν₂,p², as image-wise; nu_p holds the root mean-square diversity ν₂,p of each patch"
        ),
        sense="equality",
        status="proven",
        expr=P1_DIVERSITY,
        assumptions=(_CUT, _INDEPENDENT),
        source="derived here",
        steps=_diversity,
    ),
    Bound(
        label="P1-worst",
        name="worst-pair diversity, patch-wise",
        statement="patch-wise ν = √(Σ_p ν_p²); nu_p holds the worst pair of each patch",
        sense="equality",
        status="proven",
        expr=P1_WORST,
        assumptions=(_CUT, _INDEPENDENT),
        source="derived here",
        steps=_worst,
    ),
    Bound(
        label="P1-variance",
        name="variance, patch-wise",
        statement="patch-wise V = Σ_p V_p, V_p = Var a_p",
        sense="equality",
        status="proven",
        expr=P1_VARIANCE,
        assumptions=(_CUT, _INDEPENDENT, _LINEAR),
        source="derived here",
        steps=_variance_adds,
    ),
    Bound(
        label="P1-ratio",
        name="variance, patch-wise against image-wise",
        statement="patch-wise V ≥ V/P, V the image-wise one",
        sense="lower",
        status="proven",
        expr=P1_RATIO,
        assumptions=(_CUT, _INDEPENDENT, _LINEAR),
        source="derived here",
        steps=_ratio,
    ),
)
