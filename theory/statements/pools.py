"""P2: the variance of a pool of K exchangeable purifiers, its mean and its scatter from pool to pool."""

import sympy

from theory.bound import Assumption, Bound, Step
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


def _scatter() -> tuple[Step, ...]:
    freedom = sympy.Symbol("n", positive=True)
    chi = sympy.Symbol("χ²", nonnegative=True)
    variance = Mean((chi - freedom) ** 2, {chi: freedom, chi**2: freedom * (freedom + 2)})
    return (
        gaussian_moment(norm=1),
        gaussian_moment(norm=2),
        Step("variance of χ²_n", variance, 2 * freedom),
        Step(
            "V_K = V_∞ χ²_{K−1}/K: deviation over mean",
            sympy.sqrt((variance / freedom**2).subs(freedom, K - 1)),
            P2_SCATTER,
        ),
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
