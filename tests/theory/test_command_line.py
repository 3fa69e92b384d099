"""`python -m theory` as a user types it, and what it imports."""

import json
import subprocess
import sys
import time

import pytest

from tests.paths import ROOT
from theory.catalogue import CATALOGUE, find
from theory.command_line import main

E3 = ["E3-antithetic", "--set", "d=3072", "--set", "mu=0.01", "--set", "V=0.5", "--set", "grad=2"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "theory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_bare_lists_every_statement_and_answers_quickly():
    start = time.perf_counter()
    bare = run()
    elapsed = time.perf_counter() - start
    assert (bare.returncode, bare.stderr) == (0, "")
    assert [line.split()[0] for line in bare.stdout.splitlines()] == list(CATALOGUE)
    assert elapsed < 10  # 1.5 s on an idle machine; a shared one is slower


def test_list_json_is_one_document(capsys):
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [set(row) for row in rows] == [{"label", "name", "sense", "status", "statement", "source"}] * len(CATALOGUE)
    assert [row["label"] for row in rows] == list(CATALOGUE)


def test_eval_prints_value_and_violations(capsys):
    def printed(*arguments: str) -> str:
        assert main(["eval", *arguments]) == 0
        return capsys.readouterr().out

    assert json.loads(printed(*E3, "--json")) == {
        "label": "E3-antithetic",
        "value": find("E3-antithetic")(d=3072, mu=0.01, V=0.5, grad=2),
        "violated": [],
    }
    odd = printed("E2-budget-forward", "--set", "d=3", "--set", "mu=1", "--set", "V=1", "--set", "N=3")
    assert "violated: N is even" in odd
    assert printed("P1-worst", "--set", "nu_p=1,2,2") == "P1-worst = 3.0\n"


@pytest.mark.parametrize("label", ["E3-forward", "E5-mixed", "C1-diagonal-forward"])
def test_show_has_formula_assumptions_and_steps(label, capsys):
    assert main(["show", label]) == 0
    shown = capsys.readouterr().out
    bound = find(label)
    for part in (bound.statement, bound.latex(), bound.assumptions[0].text, bound.source, "step 1 (proved): "):
        assert part in shown


BAD = [
    (["show", "X9"], "statement must be one of S1-lipschitz, "),
    (["show", "E3-forwad"], "E3-forward"),
    (["eval", "E3-antithetic", "--set", "d"], "--set must be NAME=NUMBER"),
    (["eval", "E3-antithetic", "--set", "d=ten"], "--set must be NAME=NUMBER"),
    (["eval", "P1-worst", "--set", "nu_p=1,,2"], "--set must be NAME=NUMBER"),
    (["eval", *E3, "--set", "d=3"], "--set d must be given once"),
    (["eval", *E3[:-1], "grad=nan"], "grad must be finite, got nan"),
    (["eval", *E3[:-1], "grad=1e999"], "grad must be finite, got inf"),
    (["eval", *E3[:-1], "grad=1,2"], "grad must be a single number"),
    (["eval", *E3, "--set", "colour=3"], "unknown value colour"),
    (["eval", *E3[:-2]], "value grad is missing"),
    (["eval"], "LABEL"),
    (["evaluate"], "evaluate"),
    (["list", "--colour"], "--colour"),
    (["eval", *E3, "--set"], "--set"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_status_2(arguments, message, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_bad_input_as_typed():
    answer = run("eval", "X9", "--json")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("error: statement must be one of ")
    assert answer.stderr.count("\n") == 1


def test_check_passes_and_reports_on_stderr_only_its_progress(monkeypatch, capsys):
    """A few statements: test_theory_catalogue checks all of them, and test_readme runs the command on them."""
    some = {label: find(label) for label in ("S1-lipschitz", "E3-forward", "P2-mean")}
    monkeypatch.setattr("theory.command_line.CATALOGUE", some)
    assert main(["check", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert [finding["label"] for finding in findings] == list(some)
    assert all(finding["ok"] and finding["steps"] > 0 and finding["relative_error"] < 1e-10 for finding in findings)


def test_check_fails_on_a_broken_statement(monkeypatch, capsys):
    import dataclasses

    broken = dataclasses.replace(find("E4-popoviciu"), expr=2 * find("E4-popoviciu").expr)
    monkeypatch.setattr("theory.command_line.CATALOGUE", {"E4-popoviciu": broken})
    assert main(["check"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_theory_imports_neither_jax_nor_anything_else_of_ours():
    program = (
        "import sys, theory.catalogue, theory.recursion, theory.verification, theory.command_line\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'jax', 'jaxlib', 'flax', 'optax', 'scipy', 'matplotlib', 'defenses', 'sims', 'figures'}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.strip() == "[]", answer.stderr


def test_importing_the_package_alone_is_light():
    program = "import sys, theory; print('sympy' in sys.modules or 'numpy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.strip() == "False", answer.stderr
