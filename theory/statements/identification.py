"""P4: what an attacker gains who tells the members of a finite pool apart by their answers."""

from typing import Any

import sympy

from theory.bound import Assumption, Bound, Step
from theory.direction_moments import gaussian
from theory.lemmas import gaussian_moment
from theory.mean import Mean
from theory.symbols import symbols

d, q, K, P, grad, grad2 = symbols("d q K P grad grad2")

_UNIFORM = Assumption("every query draws one of the K members uniformly and independently")
_KNOWN = Assumption("the attacker sees which answers are of one member")
_LINEAR = Assumption("F_k(x) = ⟨a_k, x⟩ + b_k, and a is the mean of the a_k")
_NORMAL = Assumption("u ~ N(0, I_d)")
_SHIFTS = Assumption("the members' losses differ by constants, and the mean loss is linear")


def _matched() -> tuple[Step, ...]:
    slope, length = sympy.symbols("a_kᵀu ‖u‖", real=True)
    law = {slope**2 * length**2: grad2 * gaussian((2,), 1)}
    pair = Mean(slope**2 * length**2, law)
    return (
        gaussian_moment(2, norm=1),
        Step(
            "a pair that member k answered gives g = ⟨a_k, u⟩u: its constant cancels, so does the defence's noise. All "
            "members are equally likely among the matched pairs, and so E‖g‖² is E[u₁²‖u‖²] times the mean of ‖a_k‖²",
            pair,
            (d + 2) * grad2,
        ),
        Step(
            "E g = a, the gradient of the mean loss: the error of the mean of q independent pairs is (E‖g‖² − ‖a‖²)/q",
            (pair - grad**2) / q,
            P4_MATCHED,
        ),
    )


def _share() -> tuple[Step, ...]:
    others, k = sympy.Symbol("s_{P-1}", positive=True), sympy.Symbol("k", integer=True)
    return (
        Step(
            "a second draw of one of K members is the first one again with probability 1/K",
            sympy.Sum(K**-2, (k, 1, K)),
            1 / K,
        ),
        Step(
            "induction over the patches: they draw independently, one more multiplies the share by 1/K",
            sympy.Mul(others, 1 / K).subs(others, K ** (1 - P)),
            P4_SHARE,
        ),
    )


_I = sympy.Symbol("i", integer=True, positive=True)
_WAITING: Any = sympy.Sum(K / _I, (_I, 1, K))


def _levels() -> tuple[Step, ...]:
    p = sympy.Symbol("p", positive=True)
    return (
        Step(
            "a query shows something new with probability p: the mean waiting time w = 1/p solves w = 1 + (1−p)w",
            1 + (1 - p) / p,
            1 / p,
        ),
        Step("with i members still unseen p = i/K; waiting times add up over i = 1 … K", _WAITING, P4_LEVELS),
    )


def _exact() -> tuple[Step, ...]:
    axes: Any = sympy.Sum(1, (_I, 1, d))
    return (
        *_levels(),
        Step(
            "a query at x that member k answers gives F(x) + b_k; its level F(x₀) + b_k is known and their difference "
            "exact: one query along each of d axes besides",
            _WAITING + axes,
            P4_EXACT,
        ),
    )


P4_MATCHED = ((d + 2) * grad2 - grad**2) / q
P4_SHARE = K ** (-P)
P4_LEVELS = K * sympy.harmonic(K)
P4_EXACT = P4_LEVELS + d

BOUNDS = (
    Bound(
        label="P4-matched",
        name="error of an estimate from pairs that one member answered",
        statement=(
            "E‖ḡ − a‖² = [(d+2)·mean‖a_k‖² − ‖a‖²]/q from q antithetic pairs, each answered by one member, whatever V; "
            "a share 1/K of all pairs is: where all a_k are equal, it takes K times the pairs of a single member"
        ),
        sense="equality",
        status="proven",
        expr=P4_MATCHED,
        assumptions=(_UNIFORM, _KNOWN, _LINEAR, _NORMAL),
        source="derived here",
        steps=_matched,
    ),
    Bound(
        label="P4-share",
        name="share of the pairs of queries that are answered alike",
        statement="two draws of a pool agree with probability K^−P; P = 1 image-wise",
        sense="equality",
        status="proven",
        expr=P4_SHARE,
        assumptions=(_UNIFORM, Assumption("each of P patches draws its member independently")),
        source="derived here",
        steps=_share,
    ),
    Bound(
        label="P4-levels",
        name="queries until every member was seen",
        statement="until all K members answered one point takes K·H_K queries in the mean, H_K = 1 + 1/2 + … + 1/K",
        sense="equality",
        status="proven",
        expr=P4_LEVELS,
        assumptions=(_UNIFORM, _KNOWN),
        source="the coupon collector's problem",
        steps=_levels,
    ),
    Bound(
        label="P4-exact",
        name="queries for the exact gradient of a linear loss behind constant shifts",
        statement="K·H_K + d queries in the mean, whatever V",
        sense="equality",
        status="proven",
        expr=P4_EXACT,
        assumptions=(
            _UNIFORM,
            _SHIFTS,
            Assumption("levels are γ > 0 apart, and a step changes the loss by less than γ/2"),
        ),
        source="derived here",
        steps=_exact,
    ),
)
