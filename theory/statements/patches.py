"""P1: what drawing a purifier per patch, rather than one per image, does to diversity and variance."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.lemmas import jensen, variance_of_a_difference
from theory.mean import Mean, independent
from theory.symbols import symbols, total

P, V, nu_p, V_p = symbols("P V nu_p V_p")

_CUT = Assumption("patches are cut from the purifiers' full-image outputs")
_INDEPENDENT = Assumption("each patch draws its purifier independently, by the law that the whole image would")
_LINEAR = Assumption("f is linear in the patch outputs: F = Σ_p a_p")


def _diversity() -> tuple[Step, ...]:
    """‖m_ξ − m_ζ‖² is a sum over patches, and each patch draws its pair by the same law either way."""
    whole, one, other = sympy.symbols("D x y", real=True)
    so_far, square, product = sympy.symbols("E[D] E[x²] E[xy]", real=True)
    law = {whole: so_far, one**2: square, other**2: square, one * other: product}
    return (
        Step(
            "one patch more, x and y of one law: its own moments are all that enters, none shared with the others",
            Mean(whole + (one - other) ** 2, law),
            so_far + 2 * square - 2 * product,
        ),
        variance_of_a_difference(),
        _by_linearity(
            "so the squared distance is a sum over patches, each with the law of its own pair",
            nu_p**2,
            P1_DIVERSITY,
        ),
    )


def _by_linearity(text: str, entry: sympy.Expr, formula: sympy.Expr) -> Step:
    """P times the mean over a patch drawn uniformly is the sum over patches."""
    drawn = sympy.Symbol("X_p", real=True)
    return Step(text, P * Mean(drawn, {drawn: total(entry, P) / P}), formula)


def _worst() -> tuple[Step, ...]:
    most, further, short, shorter = sympy.symbols("M m s t", nonnegative=True)
    pair = sympy.Symbol("X_p", real=True)
    return (
        Step(
            "one patch more: no pair of assignments is further apart than the worst in the others and the worst here",
            (most - short) + (further - shorter),
            most + further,
            "≤",
        ),
        Step(
            "and one is as far apart, s = t = 0, as a patch may draw its worst pair whatever the others draw",
            sympy.Subs((most - short) + (further - shorter), (short, shorter), (0, 0)),
            most + further,
        ),
        Step(
            "over all patches",
            sympy.sqrt(P * Mean(pair, {pair: total(nu_p**2, P) / P})),
            P1_WORST,
        ),
    )


def _variance_adds() -> tuple[Step, ...]:
    whole, effect = sympy.symbols("S a", real=True)
    mean, square, own, own_square = sympy.symbols("E[S] E[S²] E[a] E[a²]", real=True)
    law = independent({whole: mean, whole**2: square}, {effect: own, effect**2: own_square})
    return (
        Step(
            "one patch more, drawn independently: the variance of the sum grows by its own",
            Mean((whole + effect) ** 2, law) - Mean(whole + effect, law) ** 2,
            (square - mean**2) + (own_square - own**2),
        ),
        _by_linearity("so over all patches, from none", V_p, P1_VARIANCE),
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
