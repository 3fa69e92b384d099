"""Sabotage of the catalogue: whatever is changed, the self-check of the theory or a quick verification notices.

First every proven statement in turn, in one constant, one exponent and its sense; then changes of the source, in a
copy, that once passed. `-s` prints what caught what.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import NamedTuple

import jax
import pytest
import sympy

from sims.experiments.verify import certified_checks
from sims.verification.check import judged
from sims.verification.rules import complaints, terms
from tests.paths import ROOT
from theory.bound import Bound
from theory.catalogue import CATALOGUE
from theory.symbols import SYMBOLS
from theory.verification import check

PROVEN = [label for label, bound in CATALOGUE.items() if bound.status == "proven"]
PACKAGES = ("theory", "defenses", "sims")


@pytest.fixture(scope="module")
def measured():
    """The measurements of a quick run, to be judged against any formula."""
    key = jax.random.key(0)
    checks = [one for one in certified_checks() if not one.slow]
    return [(one, one.measure(jax.random.fold_in(key, place))) for place, one in enumerate(checks)]


def another_constant(bound: Bound) -> Bound:
    """Twice its first term."""
    return replace(bound, expr=bound.expr + terms(bound)[0])


def another_exponent(bound: Bound) -> Bound:
    """One more half power of its last scalar, or of every entry of its last array."""
    symbol = SYMBOLS[next(reversed([n for n in bound.parameters if not SYMBOLS[n].length] or bound.parameters))].symbol
    if isinstance(symbol, sympy.IndexedBase):
        entries = [entry for entry in bound.expr.atoms(sympy.Indexed) if entry.base == symbol]
        return replace(bound, expr=bound.expr.xreplace({entry: entry**2 for entry in entries}))
    return replace(bound, expr=bound.expr * sympy.sqrt(symbol))


def another_sense(bound: Bound) -> Bound:
    """Bounds turned round, an equality as an upper bound."""
    return replace(bound, sense={"upper": "lower", "lower": "upper", "equality": "upper"}[bound.sense])


def typed_in(bound: Bound) -> Bound:
    """The same with a derivation whose last step is made to end in the formula, as one who believes it would write."""

    def steps():
        *others, last = CATALOGUE[bound.label].steps()
        side = "left" if bound.sense == "lower" else "right"
        return (*others, replace(last, **{side: bound.expr}))

    return replace(bound, steps=steps)


def by_rows(bound: Bound, measured) -> bool:
    """Whether a row of the statement fails, or its rows together."""
    rows = [judged(one, estimate, bound) for one, estimate in measured if one.label == bound.label]
    return any(not row.verdict.holds for row in rows) or bool(complaints(rows))


@pytest.mark.slow
def test_every_proven_statement_is_watched(measured):
    uncaught = []
    print(f"\n{'statement':<26}{'constant':>18}{'exponent':>18}{'sense':>18}")
    for label in PROVEN:
        assert not by_rows(CATALOGUE[label], measured), label
        outcomes = []
        for change in (another_constant, another_exponent, another_sense):
            wrong = typed_in(change(CATALOGUE[label]))
            caught = [
                name
                for name, sees in (("check", bool(check(wrong).failure)), ("rows", by_rows(wrong, measured)))
                if sees
            ]
            outcomes.append("+".join(caught) or "NOTHING")
            uncaught += [] if caught else [f"{label}: {change.__doc__}"]
        print(f"{label:<26}" + "".join(f"{outcome:>18}" for outcome in outcomes))
    print("exempt:", ", ".join(label for label in CATALOGUE if label not in PROVEN), "(variants)")
    assert not uncaught


class Sabotage(NamedTuple):
    """Changes of source files, and the statement on whose rows they should show."""

    changes: dict[str, list[tuple[str, str]]]
    label: str


RESPONSE, RECALLED = "theory/statements/best_response.py", "theory/statements/recalled_forms.py"
PATCHES, DESCENT = "theory/statements/patches.py", "theory/statements/quadratic_descent.py"
QUADRATIC = "theory/statements/quadratic_moments.py"
SMOOTHING, MOMENTS = "theory/statements/smoothing.py", "theory/statements/moment_bounds.py"
SECOND, MEANS = "theory/statements/second_moments.py", "theory/statements/estimator_means.py"
SABOTAGES = {
    "S2-gradient ÷ 50, derivation too": Sabotage(
        {
            SMOOTHING: [
                ("S2_GRADIENT = mu * L1 * sympy.sqrt(d)", "S2_GRADIENT = mu * L1 * sympy.sqrt(d) / 50"),
                ("mean_of_norm(mu * L1,", "mean_of_norm(mu * L1 / 50,"),
            ]
        },
        "S2-gradient",
    ),
    "E4-diversity × 2": Sabotage(
        {MOMENTS: [("E4_DIVERSITY = L0f**2 * nu2**2 / 2", "E4_DIVERSITY = L0f**2 * nu2**2")]}, "E4-diversity"
    ),
    "C6-radius with d for √d": Sabotage(
        {RESPONSE: [("C6_RADIUS = eps / (L0 * sympy.sqrt(d))", "C6_RADIUS = eps / (L0 * d)")]},
        "C6-radius",
    ),
    "E1-alignment × 2, derivation too": Sabotage(
        {
            MEANS: [
                ("E1_ALIGNMENT = grad_mu**2", "E1_ALIGNMENT = 2 * grad_mu**2"),
                ("            grad_mu * Mean(", "            2 * grad_mu * Mean("),
            ]
        },
        "E1-alignment",
    ),
    "E4-antithetic with (½ + √(d + ¼))²": Sabotage(
        {
            MOMENTS: [
                (
                    "E4_ANTITHETIC = (d + 2) * L0**2",
                    "E4_ANTITHETIC = (sympy.S.Half + sympy.sqrt(d + sympy.Rational(1, 4))) ** 2 * L0**2",
                )
            ]
        },
        "E4-antithetic",
    ),
    "S1-lipschitz × 0.985, derivation too": Sabotage(
        {
            SMOOTHING: [
                ("S1_LIPSCHITZ = mu * L0 * sympy.sqrt(d)", "S1_LIPSCHITZ = mu * L0 * 0.985 * sympy.sqrt(d)"),
                ("mean_of_norm(mu * L0, _SHIFT)", "mean_of_norm(mu * L0 * 0.985, _SHIFT)"),
            ]
        },
        "S1-lipschitz",
    ),
    "S3-textbook ÷ 4, derivation too": Sabotage(
        {
            SMOOTHING: [
                ("S3_TEXTBOOK = sympy.sqrt(d) * L0 / mu", "S3_TEXTBOOK = sympy.sqrt(d) * L0 / mu / 4"),
                ("            L0 / mu,\n", "            L0 / mu / 4,\n"),
            ]
        },
        "S3-textbook",
    ),
    "E5-image with L₀(f) to the first power": Sabotage(
        {
            RECALLED: [
                ("E5_IMAGE = L0f**2 * d", "E5_IMAGE = L0f * d"),
                ("_origin(nu, L0m, L0f**2, E5_IMAGE)", "_origin(nu, L0m, L0f, E5_IMAGE)"),
            ]
        },
        "E5-image",
    ),
    "P1-ratio ÷ 2": Sabotage({PATCHES: [("P1_RATIO = V / P", "P1_RATIO = V / P / 2")]}, "P1-ratio"),
    "C1-stability 5 % too large, an upper bound": Sabotage(
        {
            DESCENT: [
                ("C1_STABILITY = 2 / (h * gain())", "C1_STABILITY = sympy.Rational(21, 10) / (h * gain())"),
                ('where B > 0",\n        sense="equality"', 'where B > 0",\n        sense="upper"'),
            ]
        },
        "C1-stability",
    ),
    "half of V in E2-forward": Sabotage(
        {SECOND: [("E2_FORWARD = (S + W + d * V)", "E2_FORWARD = (S + (W + d * V) / 2)")]}, "E2-forward"
    ),
    "no tr H² in E3-forward": Sabotage(
        {QUADRATIC: [("(d + 4) * (tr**2 + 2 * tr2) / 4 + 2 * d * V", "(d + 4) * tr**2 / 4 + 2 * d * V")]},
        "E3-forward",
    ),
    "no −‖∇F̄_μ‖²/q in E2-shared": Sabotage(
        {SECOND: [("E2_SHARED = grad_mu**2 + (M - grad_mu**2) / q", "E2_SHARED = grad_mu**2 + M / q")]}, "E2-shared"
    ),
    "one draw for all + probes and one for all − probes": Sabotage(
        {
            "sims/measurements/gradient_moments.py": [
                (
                    "return points, oracle.draw(defense_key, estimator.queries_per_estimate)",
                    "return points, jnp.repeat(oracle.draw(defense_key, 2), -(-len(points) // 2))[: len(points)]",
                )
            ]
        },
        "E2-shared",
    ),
}
SELF_CHECK = """
import sys
from theory.catalogue import find
from theory.verification import check

sys.exit(bool(check(find(sys.argv[1])).failure))
"""


def run(folder, *arguments) -> int:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert not re.search(r"(Import|Syntax|Name|Type)Error", done.stderr), done.stderr
    return done.returncode


def notices(folder, label: str) -> dict[str, bool]:
    """Which of the self-check and a quick verification of the statement fail in that copy."""
    verify = ["-m", "sims", "verify", "--quick", "--statements", label, "--out", str(folder / "out"), "--json"]
    return {"check": run(folder, "-c", SELF_CHECK, label) != 0, "verify --quick": run(folder, *verify) != 0}


@pytest.fixture
def copy(tmp_path):
    """A folder with the packages."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", SABOTAGES)
def test_sabotage_of_a_copy_is_noticed(name, copy):
    sabotage = SABOTAGES[name]
    for file, changes in sabotage.changes.items():
        text = (copy / file).read_text()
        for old, new in changes:
            assert text.count(old) == 1, (file, old)
            text = text.replace(old, new)
        (copy / file).write_text(text)
    noticed = notices(copy, sabotage.label)
    print(f"{name}: noticed by {', '.join(way for way, sees in noticed.items() if sees) or 'NOTHING'}")
    assert any(noticed.values())


@pytest.mark.slow
def test_this_notices_a_copy_that_is_left_alone(copy):
    """The negative control: an untouched copy passes both."""
    assert not any(notices(copy, "S2-gradient").values())
