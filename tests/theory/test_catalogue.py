"""The contract that every statement keeps, and broken twins that it must catch."""

import dataclasses
import math
from importlib import import_module

import mpmath
import numpy as np
import pytest
import sympy

from theory.bound import Assumption, Bound, Step
from theory.catalogue import CATALOGUE, SECTIONS, find
from theory.gamma_ratio import exact_gamma_ratio, float_gamma_ratio
from theory.mean import Mean
from theory.statements import patches
from theory.symbols import SYMBOLS, index, symbols, total
from theory.verification import DIMENSIONS, TOLERANCE, check, relative_error, sample

every_statement = pytest.mark.parametrize("bound", [pytest.param(b, id=b.label) for b in CATALOGUE.values()])


def values_at(bound: Bound, dimension: int) -> dict:
    return {name: value for name, value in sample(dimension).items() if name in bound.parameters}


def test_every_section_has_statements_and_no_label_is_used_twice():
    sections = [import_module(f"theory.statements.{name}").BOUNDS for name in SECTIONS]
    assert all(sections)
    assert sum(map(len, sections)) == len(CATALOGUE)


@every_statement
def test_record_is_complete(bound: Bound):
    assert bound.sense in ("upper", "lower", "equality")
    assert bound.status in ("proven", "variant")
    assert all((bound.name, bound.statement, bound.source, bound.assumptions))
    assert set(bound.parameters) <= set(SYMBOLS)
    assert bound.latex()


@every_statement
def test_every_step_of_the_derivation_is_asserted_and_says_something(bound: Bound):
    steps = bound.derivation()
    assert all(step.left != step.right for step in steps)
    assert all(step.text for step in steps)


@every_statement
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_float64_agrees_with_mpmath(bound: Bound, dimension: int):
    values = values_at(bound, dimension)
    assert bound.violated(**values) == ()
    assert relative_error(bound, values) < TOLERANCE


@every_statement
def test_conditions_speak_only_of_the_values_of_the_statement(bound: Bound):
    lengths = {SYMBOLS[name].length for name in bound.parameters}
    for assumption in bound.assumptions:
        if assumption.condition is not None:
            spoken = {str(symbol) for symbol in assumption.condition.free_symbols} & SYMBOLS.keys()
            assert spoken <= {*bound.parameters, *lengths}


@every_statement
def test_missing_unknown_and_inadmissible_values_are_refused_by_name(bound: Bound):
    values = values_at(bound, 12)
    for name in bound.parameters:
        without = {other: value for other, value in values.items() if other != name}
        with pytest.raises(ValueError, match=rf"{bound.label}: value {name} is missing"):
            bound(**without)
        for wrong in (math.nan, math.inf, "3", None, True):
            given = {**values, name: np.array([1.0, wrong], object) if SYMBOLS[name].length else wrong}
            with pytest.raises(ValueError, match=rf"{bound.label}: {name} must be"):
                bound(**given)
    with pytest.raises(ValueError, match="unknown value colour"):
        bound(**values, colour=1)


@pytest.mark.parametrize(
    ("label", "wrong", "message"),
    [
        ("E7-forward", {"mu": -0.1}, "mu must be > 0, got -0.1"),
        ("E7-forward", {"d": 2.5}, "d must be a positive integer, got 2.5"),
        ("E7-forward", {"d": 0}, "d must be a positive integer, got 0"),
        ("E7-forward", {"grad": -1}, "grad must be >= 0, got -1"),
        ("E7-forward", {"grad": [1.0, 2.0]}, "grad must be a single number"),
        ("P1-worst", {"nu_p": 1.0}, "nu_p must be a non-empty 1-D array"),
        ("P1-worst", {"nu_p": []}, "nu_p must be a non-empty 1-D array"),
        ("C1-step-forward", {"s_i": [1.0]}, "s_i must have 12 entries, got 1"),
        ("C1-forward", {"t": -1}, "t must be an integer >= 0, got -1"),
    ],
)
def test_errors_name_the_argument_the_value_and_what_is_allowed(label, wrong, message):
    bound = find(label)
    with pytest.raises(ValueError, match=message):
        bound(**{**values_at(bound, 12), **wrong})
    with pytest.raises(ValueError, match=message):
        bound.exact(20, **{**values_at(bound, 12), **wrong})


def test_a_formula_without_a_finite_value_says_what_it_needs():
    with pytest.raises(ValueError, match="K ≥ 2"):
        find("P2-scatter")(K=1)
    with pytest.raises(ValueError, match="K ≥ 2"):
        find("P2-scatter").exact(20, K=1)
    below_the_floor = {**values_at(find("C1-time-antithetic"), 12), "e": 1e-9}
    with pytest.raises(ValueError, match="the target e lies between"):
        find("C1-time-antithetic")(**below_the_floor)
    above_the_start = {**values_at(find("C1-time-antithetic"), 12), "e": 4e12}
    with pytest.raises(ValueError, match="the target e lies between"):
        find("C1-time-antithetic")(**above_the_start)
    with pytest.raises(ValueError, match="no finite value"):
        find("E4-noise")(d=3, mu=1e-200, Delta=1.0)


def test_violated_assumptions_are_named():
    assert find("E3-forward").violated(d=2, mu=0.1, V=0, grad=1, tr=10, tr2=1)[0].startswith("tr(H)²")
    assert find("E2-budget-antithetic").violated(d=2, mu=0.1, V=1, N=7) == ("N is even: two queries a direction",)
    unstable = find("C1-floor-forward").violated(d=8, q=1, mu=0.1, V=1, eta=1, h=1)
    assert len(unstable) == 1
    steep = find("C1-diagonal-antithetic").violated(q=1, mu=0.1, V=1, eta=0.6, h_i=[0.1, 3.0])
    assert len(steep) == 1
    assert "for all i" in steep[0]
    many = find("C1-diagonal-antithetic").violated(q=1, mu=0.1, V=1, eta=0.5, h_i=np.ones(10))
    assert len(many) == 1
    assert "as a whole" in many[0]


def test_exact_keeps_the_digits_asked_for():
    with mpmath.workdps(60):
        expected = mpmath.sqrt(2) * mpmath.gamma(mpmath.mpf(785) / 2) / mpmath.gamma(mpmath.mpf(784) / 2)
        assert abs(find("S1-sharp").exact(50, d=784, mu=1, L0=1) / expected - 1) < mpmath.mpf(10) ** -49
    with pytest.raises(ValueError, match="digits must be a positive integer"):
        find("S1-sharp").exact(0, d=1, mu=1, L0=1)


@pytest.mark.parametrize("n", [1, 2, 3, 50, 99, 100, 101, 102, 784, 3072, 150528, 10**7])
def test_gamma_ratio_is_accurate_on_both_sides_of_the_switch(n):
    with mpmath.workdps(40):
        assert abs(float_gamma_ratio(n) / exact_gamma_ratio(n) - 1) < 5e-14


def test_find_lists_the_nearest_labels():
    assert find("E3-forward") is CATALOGUE["E3-forward"]
    with pytest.raises(ValueError, match=r"must be one of .*E3-forward.*, got 'E3-forwad'"):
        find("E3-forwad")
    with pytest.raises(ValueError, match=r"must be one of S1-lipschitz, .*C6-radius, got 'X9'"):
        find("X9")


# Broken twins: each must be caught.

LONG = ("E1-alignment", "E1-norm")  # derivations of seconds
TWINS = [pytest.param(label, marks=[pytest.mark.slow] * (label in LONG)) for label in CATALOGUE]


@pytest.mark.parametrize("label", TWINS)
def test_a_wrong_formula_is_not_the_end_of_its_derivation(label):
    bound = find(label)
    (d,) = symbols("d")
    with pytest.raises(AssertionError, match="the derivation ends in"):
        dataclasses.replace(bound, expr=bound.expr * sympy.sqrt(d)).derivation()


@pytest.mark.parametrize("label", TWINS)
def test_a_formula_and_conclusion_that_are_wrong_together_are_caught(label):
    """A wrong power of d written into both the formula and the last step: the algebra must refuse it."""
    bound = find(label)
    wrong = bound.expr * sympy.Symbol("d", positive=True, integer=True) / 2

    def steps():
        *others, last = bound.steps()
        side = "left" if bound.sense == "lower" else "right"
        relation = "=" if bound.sense != "lower" else last.relation
        return (*others, dataclasses.replace(last, **{side: wrong, "relation": relation}))

    with pytest.raises(AssertionError, match="does not hold"):
        dataclasses.replace(bound, expr=wrong, steps=steps).derivation()


@pytest.mark.parametrize(
    ("label", "name", "wrong"),
    [
        ("P1-variance", "P1_VARIANCE", lambda entry, P: total(entry**3, P) + 7),
        ("P1-variance", "P1_VARIANCE", lambda entry, P: total(entry, P) + 7),
        ("P1-diversity", "P1_DIVERSITY", lambda entry, P: total(sympy.sqrt(entry), P)),
        ("P1-worst", "P1_WORST", lambda entry, P: total(sympy.sqrt(entry), P)),
        ("P1-worst", "P1_WORST", lambda entry, P: total(entry, P)),
    ],
)
def test_the_induction_over_patches_refuses_another_sum(label, name, wrong, monkeypatch):
    """Wrong wherever the derivation uses the formula, as where its definition in the source is changed."""
    (P,) = symbols("P")
    (entry,) = find(label).expr.atoms(sympy.Indexed)
    monkeypatch.setattr(patches, name, wrong(entry, P))
    assert "does not hold" in check(dataclasses.replace(find(label), expr=wrong(entry, P))).failure


def test_a_sum_is_the_shorter_one_and_its_last_term():
    P, entry = symbols("P V_p")
    longer, last = total(entry, P), entry.subs(index, P - 1)
    assert Step("split", total(entry, P - 1) + last, longer).holds()
    assert Step("dropped", total(entry, P - 1), longer, "≤").holds()
    assert not Step("too much", total(entry, P - 1) + 2 * last, longer).holds()
    assert not Step("another entry", total(entry, P - 1) + entry.subs(index, P), longer).holds()
    assert not Step("another sum", total(entry**2, P - 1) + last**2, longer).holds()
    assert Step("empty", longer.subs(P, 0), sympy.S.Zero).holds()


def test_false_trivial_and_missing_steps_are_caught():
    d, mu = symbols("d mu")
    honest = find("E7-forward")

    def with_step(step: Step) -> Bound:
        return dataclasses.replace(honest, steps=lambda: (step, *honest.steps()))

    with pytest.raises(AssertionError, match=r"E7-forward: step 1 does not hold: wrong"):
        with_step(Step("wrong", d * mu, d * mu**2)).derivation()
    with pytest.raises(AssertionError, match="does not hold"):
        with_step(Step("wrong way round", (d + 1) ** 2, d**2, "≤")).derivation()
    with pytest.raises(AssertionError, match="does not hold"):
        with_step(Step("undecided", d, mu, "≤")).derivation()
    with pytest.raises(AssertionError, match="says nothing"):
        with_step(Step("empty", d * mu, mu * d)).derivation()
    with pytest.raises(AssertionError, match="no steps"):
        dataclasses.replace(honest, steps=lambda: ()).derivation()
    *others, last = honest.steps()
    cited = dataclasses.replace(last, reference="a book")
    with pytest.raises(AssertionError, match="the last step must be proved, it is assumed, see a book"):
        dataclasses.replace(honest, steps=lambda: (*others, cited)).derivation()


def test_a_step_is_proved_or_says_where_it_is():
    standings = [step.standing for step in find("E4-antithetic").derivation()]
    assert [word for word in standings if word != "proved"] == [
        "assumed, see P. Lévy, Problèmes concrets d'analyse fonctionnelle (1951); T. Figiel, J. Lindenstrauss and "
        "V. Milman, The dimension of almost spherical sections of convex bodies (1977), Theorem 2.1"
    ]


def test_a_formula_without_meaning_is_refused():
    values = values_at(find("C1-floor-forward"), 12)
    limit = find("C1-stability")(**{name: values[name] for name in ("d", "q", "h")})
    for label in ("C1-floor-forward", "C1-floor-antithetic"):
        assert find(label)(**{**values, "eta": 0.99 * limit}) > 0
        for share in (1.0, 1.5):
            with pytest.raises(ValueError, match=r"no finite value .* must satisfy: stable step"):
                find(label)(**{**values, "eta": share * limit})
            with pytest.raises(ValueError, match="must satisfy: stable step"):
                find(label).exact(20, **{**values, "eta": share * limit})


def test_check_reports_a_broken_twin_and_an_inaccurate_formula():
    honest = find("E4-popoviciu")
    assert check(honest).failure == ""
    assert "the derivation ends in" in check(dataclasses.replace(honest, expr=2 * honest.expr)).failure
    (Delta,) = symbols("Delta")
    cancelling = sympy.Add((Delta + 10**12) ** 2, -((10**12) ** 2), -2 * 10**12 * Delta, evaluate=False)
    inaccurate = Bound(
        label="cancels",
        name="a formula that float64 cannot evaluate",
        statement="Δ²",
        sense="equality",
        status="proven",
        expr=cancelling,
        assumptions=(Assumption("none"),),
        source="this test",
        steps=lambda: (Step("Δ²", Delta**2, cancelling),),
    )
    assert "float64 is off by" in check(inaccurate).failure
    violated = dataclasses.replace(honest, assumptions=(Assumption("Δ is large", Delta > 1),))
    assert "violates: Δ is large" in check(violated).failure


def test_a_mean_refuses_a_monomial_whose_law_is_not_given():
    x, y = sympy.symbols("x y")
    assert Mean((x + 2) ** 2, {x: 0, x**2: 5}).doit() == 9
    with pytest.raises(ValueError, match="must give the mean of x"):
        Mean((x + y) ** 2, {x**2: 1, y**2: 1}).doit()
