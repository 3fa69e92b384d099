"""Sabotage of the catalogue: whatever is changed, the self-check of the theory or a quick verification notices.

First every proven statement in turn, in one constant, one exponent and its sense; then changes of the source, in a
copy, that once passed. `-s` prints what caught what.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import pytest
import sympy

from sims.experiments.verify import certified_checks
from sims.verification.check import judged
from sims.verification.rules import complaints
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
    return replace(bound, expr=bound.expr + sympy.Add.make_args(sympy.expand(bound.expr))[0])


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


CHANGES = {"constant": another_constant, "exponent": another_exponent, "sense": another_sense}


def typed_in(bound: Bound) -> Bound:
    """The same with a derivation whose last step is made to end in the formula, as one who believes it would write."""

    def steps():
        *others, last = CATALOGUE[bound.label].steps()
        side = "left" if bound.sense == "lower" else "right"
        return (*others, replace(last, **{side: bound.expr}))

    return replace(bound, steps=steps)


REFUSALS = "does not hold", "says nothing", "the derivation ends in", "float64 is off by"


def refused(failure: str) -> bool:
    """Whether a finding of the self-check refuses the statement; any other failure is a mistake of this test."""
    assert not failure or any(words in failure for words in REFUSALS), failure
    return bool(failure)


def by_rows(bound: Bound, measured) -> bool:
    """Whether a row of the statement fails, or its rows together."""
    rows = [judged(one, estimate, bound) for one, estimate in measured if one.label == bound.label]
    return any(not row.verdict.holds for row in rows) or bool(complaints(rows))


@pytest.mark.slow
def test_every_proven_statement_is_watched(measured):
    uncaught = []
    print(f"\n{'':<26}" + "".join(f"{name:^16}" for name in CHANGES))
    print(f"{'statement':<26}" + f"{'check':>8}{'rows':>8}" * len(CHANGES))
    for label in PROVEN:
        assert not by_rows(CATALOGUE[label], measured), label
        print(f"{label:<26}", end="")
        for change in CHANGES.values():
            wrong = typed_in(change(CATALOGUE[label]))
            seen = refused(check(wrong).failure), by_rows(wrong, measured)
            uncaught += [] if any(seen) else [f"{label}: {change.__doc__}"]
            print("".join(f"{'caught' if sees else '-':>8}" for sees in seen), end="")
        print()
    print("\n".join(["exempt:", *exempt()]))
    assert not uncaught


def exempt() -> Iterator[str]:
    """What no change is tried on, a line each: variants, and steps that are assumed."""
    yield from (f"{label}, a variant" for label in CATALOGUE if label not in PROVEN)
    for label in PROVEN:
        steps = enumerate(CATALOGUE[label].steps(), 1)
        yield from (f"{label}, step {number}: {step.standing}" for number, step in steps if step.reference)


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
        {SECOND: [("E2_FORWARD = (S + W + d * V)", "E2_FORWARD = (S + W + d * V / 2)")]}, "E2-forward"
    ),
    "half of tr H² in E3-forward": Sabotage(
        {QUADRATIC: [("(d + 4) * (tr**2 + 2 * tr2) / 4 + 2 * d * V", "(d + 4) * (tr**2 + tr2) / 4 + 2 * d * V")]},
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
import json, sys
from theory.catalogue import find
from theory.verification import check

print(json.dumps([check(find(label)).failure for label in sys.argv[1:]]))
"""


def run(folder, *arguments) -> Any:
    """The JSON document that the command prints in that folder; a crash is no verdict."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def notices(folder, *labels: str) -> dict[str, bool]:
    """Which of the self-check and a quick verification of the statements fail in that copy."""
    verify = ["-m", "sims", "verify", "--quick", "--statements", *labels, "--out", str(folder / "out"), "--json"]
    failures = run(folder, "-c", SELF_CHECK, *labels)
    return {
        "check": any([refused(failure) for failure in failures]),
        "verify --quick": not run(folder, *verify)["ok"],
    }


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
    """The negative control: an untouched copy passes both, on the statements of all sabotages."""
    labels = dict.fromkeys(sabotage.label for sabotage in SABOTAGES.values())
    assert not any(notices(copy, *labels).values())
