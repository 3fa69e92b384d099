"""The analytic facts that the derivations cite, each reduced to an algebraic identity that sympy asserts."""

import sympy

from theory.bound import Step
from theory.direction_moments import gaussian, gaussian_by_generating_function
from theory.gamma_ratio import gamma_ratio
from theory.mean import Mean
from theory.symbols import symbols

(d,) = symbols("d")


def gaussian_moment(*powers: int, norm: int = 0) -> Step:
    """Assert E[u₁^{a₁}⋯‖u‖^{2b}] for Gaussian u through its generating function."""
    coordinates = "".join(f" u{number}^{power}" for number, power in enumerate(powers, 1))
    radius = f" ‖u‖^{2 * norm}" if norm else ""
    return Step(
        f"Gaussian moment E[{(coordinates + radius).strip()}], from its generating function",
        gaussian_by_generating_function(powers, norm),
        sympy.factor(gaussian(powers, norm)),
    )


def mean_norm() -> Step:
    """Assert E‖u‖ = √2 Γ((d+1)/2)/Γ(d/2) by integrating the χ_d density."""
    r = sympy.Symbol("r", positive=True)
    density = r ** (d - 1) * sympy.exp(-(r**2) / 2) / (2 ** (d / 2 - 1) * sympy.gamma(d / 2))
    left = sympy.Integral(r * density, (r, 0, sympy.oo))
    return Step(
        "mean norm of a Gaussian vector: integrate r against the χ density",
        left,
        sympy.sqrt(2) * gamma_ratio(d),
    )


def cauchy_schwarz() -> Step:
    """Assert E[XY]² = E X² E Y² − E Y² E(X − tY)², t = E[XY]/E Y²: hence E[XY]² ≤ E X² E Y²."""
    X, Y = sympy.symbols("X Y", real=True)
    xx, yy = sympy.symbols("m_XX m_YY", positive=True)
    xy = sympy.Symbol("m_XY", real=True)
    residual = Mean((X - xy / yy * Y) ** 2, {X**2: xx, Y**2: yy, X * Y: xy})
    return Step(
        "Cauchy–Schwarz: E[XY]² is E X²·E Y² less E Y² times the mean of a square",
        xx * yy - yy * residual,
        xy**2,
    )


def integration_by_parts() -> tuple[Step, ...]:
    """E[u φ(u)] = E φ′(u): asserted for φ = e^{su} at every s, cited for all φ of moderate growth."""
    s = sympy.Symbol("s", real=True)
    generating = sympy.exp(s**2 / 2)
    return (
        Step(
            "Gaussian integration by parts E[u φ(u)] = E φ′(u), on every exponential φ = exp(su)",
            sympy.Derivative(generating, s),
            s * generating,
        ),
        Step(
            "and on every locally Lipschitz φ of moderate growth",
            sympy.Symbol("E[u φ(u)]"),
            sympy.Symbol("E φ′(u)"),
            reference="C. Stein, Estimation of the mean of a multivariate normal distribution (1981), Lemma 1",
        ),
    )


def poincare() -> tuple[Step, ...]:
    """Var φ ≤ E‖∇φ‖²: asserted on each Hermite polynomial, cited for all φ and in d dimensions."""
    k = sympy.Symbol("k", positive=True, integer=True)
    return (
        Step(
            (
                "Gaussian Poincaré inequality: He_k′ = k He_{k−1}, so the k-th Hermite part of E(φ′)² "
                "is k ≥ 1 times its variance"
            ),
            k**2 * sympy.factorial(k - 1),
            k * sympy.factorial(k),
        ),
        Step(
            "and so for every φ in d dimensions: the Hermite polynomials are complete, variances add over coordinates",
            sympy.Symbol("Var φ"),
            sympy.Symbol("E‖∇φ‖²"),
            "≤",
            reference=(
                "L. H. Y. Chen, An inequality for the multivariate normal distribution (1982); in one dimension "
                "H. Chernoff, A note on an inequality involving the normal distribution (1981)"
            ),
        ),
    )


def isoperimetry(slope: sympy.Expr) -> tuple[Step, ...]:
    """φ² is no larger than (L₀u₁)² in law, for φ odd and L₀-Lipschitz, L₀ = `slope`, and a rotation-invariant u.

    On a sphere {φ ≥ s} and, as φ is odd, {φ ≤ −s} are equally large, and 2s/L₀ apart. Of all sets of one size a cap
    grows least, so that a set of this size is at most the cap {L₀u₁ ≥ s}.
    """
    level = sympy.Symbol("s", positive=True)
    above, below, lost = sympy.symbols("φ(u)−s −s−φ(w) c", nonnegative=True)
    value = sympy.Symbol("x", nonnegative=True)
    return (
        Step(
            "φ(u) ≥ s and φ(w) ≤ −s lie at least 2s/L₀ apart: L₀‖u−w‖ is φ(u) − φ(w) and a rest c ≥ 0",
            2 * level / slope,
            ((level + above) - (-level - below) + lost) / slope,
            "≤",
        ),
        Step(
            "isoperimetry: on the sphere of radius r, two opposite sets of one size so far apart are at most caps",
            sympy.Symbol("P(φ ≥ s | ‖u‖ = r)"),
            sympy.Symbol("P(L₀u₁ ≥ s | ‖u‖ = r)"),
            "≤",
            reference=(
                "P. Lévy, Problèmes concrets d'analyse fonctionnelle (1951); T. Figiel, J. Lindenstrauss and "
                "V. Milman, The dimension of almost spherical sections of convex bodies (1977), Theorem 2.1"
            ),
        ),
        Step(
            "a second moment is 2s integrated against P(|φ| ≥ s): ∫2s ds up to x",
            sympy.Integral(2 * level, (level, 0, value)),
            value**2,
        ),
    )


def mean_below_norm(scale: sympy.Expr, mean: sympy.Symbol, text: str) -> Step:
    """E D ≤ scale·E‖u‖, `mean`, for a quantity D ≤ scale·‖u‖; `text` says what is D and why."""
    radius, slack, lost = sympy.symbols("‖u‖ s E[s]", nonnegative=True)
    return Step(
        f"{text} is {scale}·‖u‖ − s with s ≥ 0: its mean",
        Mean(scale * radius - slack, {radius: mean, slack: lost}),
        scale * mean,
        "≤",
    )


def mean_of_norm(scale: sympy.Expr, text: str) -> tuple[Step, ...]:
    """E D ≤ scale·√d for a quantity D ≤ scale·‖u‖, u Gaussian; `text` says what is D and why."""
    radius = sympy.Symbol("‖u‖", nonnegative=True)
    mean, variance = sympy.symbols("E‖u‖ Var‖u‖", nonnegative=True)
    spread = Mean((radius - mean) ** 2, {radius: mean, radius**2: d})
    return (
        mean_below_norm(scale, mean, text),
        gaussian_moment(norm=1),
        Step("a variance is no less than 0", scale * mean, sympy.sqrt((scale * mean) ** 2 + scale**2 * variance), "≤"),
        Step(
            "Var‖u‖ = E(‖u‖ − E‖u‖)² = d − (E‖u‖)²",
            sympy.sqrt((scale * mean) ** 2 + scale**2 * spread),
            scale * sympy.sqrt(d),
        ),
    )


def popoviciu() -> tuple[Step, ...]:
    """Assert Var F ≤ (b−a)²/4 for a ≤ F ≤ b in two identities with non-negative remainders."""
    F = sympy.Symbol("F", real=True)
    a, b, m, s = sympy.symbols("a b m m_FF", real=True)
    product = Mean((b - F) * (F - a), {F: m, F**2: s})
    return (
        Step(
            "the variance of F in [a, b] is (b−m)(m−a) less the mean of (b−F)(F−a) ≥ 0",
            (b - m) * (m - a) - product,
            s - m**2,
        ),
        Step(
            ("Popoviciu: (b−m)(m−a) is (b−a)²/4 less the square of the distance from the mean to the midpoint"),
            (b - a) ** 2 / 4 - (m - (a + b) / 2) ** 2,
            (b - m) * (m - a),
        ),
    )


def variance_of_a_difference() -> Step:
    """Assert E(X − Y)² = 2 Var X for independent X, Y of one law."""
    X, Y = sympy.symbols("X Y", real=True)
    m, s = sympy.symbols("m m_XX", real=True)
    square = Mean((X - Y) ** 2, {X**2: s, Y**2: s, X * Y: m**2})
    return Step("two independent draws differ by twice the variance in mean square", square, 2 * (s - m**2))
