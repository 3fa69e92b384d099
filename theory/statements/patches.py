"""P1: what drawing a purifier per patch, rather than one per image, does to diversity and variance."""

from typing import Any

import sympy

from theory.bound import Assumption, Bound, Step
from theory.mean import Mean, independent
from theory.symbols import index, symbols, total

P, V, nu_p, V_p = symbols("P V nu_p V_p")

_CUT = Assumption("patches are cut from the purifiers' full-image outputs")
_INDEPENDENT = Assumption("each patch draws its purifier independently, by the law that the whole image would")
_LINEAR = Assumption("f is linear in the patch outputs: F = Σ_p a_p")


def _of_fewer(formula: Any) -> Any:
    """The formula for one patch less, P − 1."""
    return formula.subs(P, P - 1)


def _of_last(entry: Any) -> Any:
    """The entry of the last of P patches."""
    return entry.subs(index, P - 1)


def _of_none(text: str, formula: sympy.Expr) -> Step:
    """Where the induction over the number of patches starts."""
    return Step(f"induction over the patches; {text}", formula.subs(P, 0), sympy.S.Zero)


def _diversity() -> tuple[Step, ...]:
    others, here = sympy.symbols("D_{P-1} D_p", nonnegative=True)
    law = {others: _of_fewer(P1_DIVERSITY), here: _of_last(nu_p**2)}
    return (
        _of_none("without any, two draws are not apart", P1_DIVERSITY),
        Step(
            "the squared distance of two draws is D_{P−1} over the first P−1 patches, its mean given by the formula, "
            "and D_p in the last, its mean ν_p²: means add, whether the patches draw one purifier or each its own",
            Mean(others + here, law),
            P1_DIVERSITY,
        ),
    )


def _worst() -> tuple[Step, ...]:
    nearer, closer = sympy.symbols("s t", nonnegative=True)
    others, here = _of_fewer(P1_WORST) ** 2, _of_last(nu_p**2)
    return (
        _of_none("without any, two draws are not apart", P1_WORST),
        Step(
            "the squared distance of two draws falls short of the worst by s ≥ 0 over the first P−1 patches and by "
            "t ≥ 0 in the last: it is at most ν²",
            (others - nearer) + (here - closer),
            P1_WORST**2,
            "≤",
        ),
        Step(
            "and s = t = 0 occurs, as the last patch may draw its worst pair whatever the others draw",
            sympy.Subs(sympy.sqrt((others - nearer) + (here - closer)), (nearer, closer), (0, 0)),
            P1_WORST,
        ),
    )


def _variance() -> tuple[Step, ...]:
    others, here = sympy.symbols("F_{P-1} a_p", real=True)
    mean, own = sympy.symbols("E[F_{P-1}] E[a_p]", real=True)
    law = independent(
        {others: mean, others**2: _of_fewer(P1_VARIANCE) + mean**2}, {here: own, here**2: _of_last(V_p) + own**2}
    )
    return (
        _of_none("without any, the loss does not vary", P1_VARIANCE),
        Step(
            "the loss is F_{P−1} of the first P−1 patches, its variance given by the formula, and a_p of the last, its "
            "variance V_p, drawn independently: the mean square less the square of the mean grows by V_p",
            Mean((others + here) ** 2, law) - Mean(others + here, law) ** 2,
            P1_VARIANCE,
        ),
    )


def _ratio() -> tuple[Step, ...]:
    """With a patch p that is drawn uniformly, P E x_p² is the sum of E x_p² over all patches."""
    whole, rest = sympy.symbols("X r_p", real=True)
    spread = sympy.Symbol("E r_p²", nonnegative=True)
    law = {whole**2: V, whole * rest: 0, rest**2: spread}
    return (
        Step(
            "x_p: what patch p of one image-wise draw adds to the loss, less its mean; X = Σ_p x_p, so that E X² = V. "
            "Write x_p = X/P + r_p: the r_p sum to 0, and so do their products with X",
            P * Mean((whole / P + rest) ** 2, law),
            V / P + P * spread,
        ),
        Step(
            "patch-wise V = Σ_p V_p = Σ_p E x_p² (P1-variance), of which the r_p add", P1_RATIO, V / P + P * spread, "≤"
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
        steps=_variance,
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
