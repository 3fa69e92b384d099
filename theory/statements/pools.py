"""P2: the variance of a pool of K exchangeable purifiers, its mean and its scatter from pool to pool."""

import sympy

from theory.bound import Assumption, Bound, Step
from theory.direction_moments import gaussian
from theory.lemmas import gaussian_moment, variance_of_a_difference
from theory.mean import Mean
from theory.symbols import symbols

K, V, d = symbols("K V d")

_UNIFORM = Assumption("the K purifiers are drawn uniformly")


def _mean() -> tuple[Step, ...]:
    own, other = sympy.symbols("F_1 F_2", real=True)
    product = sympy.Symbol("E F_1F_2", real=True)
    law = {own**2: V + product, other**2: V + product, own * other: product}
    square_of_mean = (K * Mean(own**2, law) + K * (K - 1) * Mean(own * other, law)) / K**2
    pairs = K * (K - 1) / 2 * Mean((own - other) ** 2, law) / K**2
    four = sympy.symbols("F_1:5", real=True)
    average = sympy.Add(*four) / 4
    spread = sympy.Add(*(value**2 for value in four)) / 4 - average**2
    squares = sympy.Add(*((four[i] - four[j]) ** 2 for i in range(4) for j in range(i))) / 16
    return (
        Step("pool variance is the sum of squared pair differences over K², written for K = 4", spread, squares),
        variance_of_a_difference(),
        Step(
            "mean square less square of the mean agrees with the pairs at every K",
            Mean(own**2, law) - square_of_mean,
            pairs,
        ),
        Step("K(K−1)/2 pairs of mean square 2V_∞", pairs, P2_MEAN),
    )


def _about_the_mean() -> tuple[Step, ...]:
    """V_K of K Gaussian losses F_k = m + √V_∞·u_k, u ~ N(0, I_K), in two coordinates of u."""
    member = sympy.Symbol("u_k", real=True)
    level, added, squares = sympy.symbols("m Σ_ku_k ‖u‖²", real=True)
    law, loss = {member: added / K, member**2: squares / K}, level + sympy.sqrt(V) * member
    return (
        Step(
            "losses F_k = m + √V_∞·u_k, u ~ N(0, I_K), one drawn uniformly: mean square less square of the mean "
            "is V_∞/K times ‖u‖² − ⟨u, e⟩², with the unit vector e = (1, …, 1)/√K, ⟨u, e⟩ = Σ_ku_k/√K",
            Mean(loss**2, law) - Mean(loss, law) ** 2,
            V / K * (squares - (added / sympy.sqrt(K)) ** 2),
        ),
        Step(
            "a rotation takes e to the first axis and leaves N(0, I_K) and ‖u‖ unchanged: u₁ may stand for ⟨u, e⟩",
            sympy.Symbol("law of ‖u‖² − ⟨u, e⟩²"),
            sympy.Symbol("law of ‖u‖² − u₁²"),
            reference="T. W. Anderson, An Introduction to Multivariate Statistical Analysis (2003), Theorem 2.4.1",
        ),
    )


def _scatter() -> tuple[Step, ...]:
    whole, first = sympy.symbols("‖u‖² u₁²", nonnegative=True)

    def moment(powers: tuple[int, ...], norm: int) -> sympy.Expr:
        return gaussian(powers, norm).subs(d, K)

    law = {whole: moment((), 1), first: moment((2,), 0)}
    law |= {whole**2: moment((), 2), first**2: moment((4,), 0), whole * first: moment((2,), 1)}
    mean, square = Mean(whole - first, law), Mean((whole - first) ** 2, law)
    variance = (V / K) ** 2 * (square - mean**2)
    return (
        *_about_the_mean(),
        gaussian_moment(norm=1),
        gaussian_moment(norm=2),
        gaussian_moment(4),
        gaussian_moment(2, norm=1),
        Step("mean of ‖u‖² − u₁²", mean, K - 1),
        Step("its variance", square - mean**2, 2 * (K - 1)),
        Step("deviation of V_K over its mean", sympy.sqrt(variance / (V / K * mean) ** 2), P2_SCATTER),
    )


P2_MEAN = (1 - 1 / K) * V
P2_SCATTER = sympy.sqrt(2 / (K - 1))

BOUNDS = (
    Bound(
        label="P2-mean",
        name="mean variance of a pool",
        statement="E V_K = (1 − 1/K)V_∞; V is V_∞ = ½E(F₁ − F₂)²",
        sense="equality",
        status="proven",
        expr=P2_MEAN,
        assumptions=(Assumption("the losses of the K purifiers are exchangeable"), _UNIFORM),
        source="derived here",
        steps=_mean,
    ),
    Bound(
        label="P2-scatter",
        name="scatter of one pool",
        statement="the standard deviation of V_K is √(2/(K−1)) of its mean",
        sense="equality",
        status="proven",
        expr=P2_SCATTER,
        assumptions=(
            Assumption("the K losses are independent Gaussians of one mean and variance"),
            _UNIFORM,
            Assumption("K ≥ 2", K >= 2),
        ),
        source="derived here",
        steps=_scatter,
    ),
)
