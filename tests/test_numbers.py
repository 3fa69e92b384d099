"""Numbers as people type them, and numbers that nobody should: every one is taken, or refused in one line."""

import contextlib
import dataclasses
import io
import json
import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses.command_line import answer as complaint
from defenses.options.names import read_number
from defenses.purifiers.table import DEFENSES
from sims.attacks.attack import Threat
from sims.attacks.table import ATTACKS
from sims.attacks.table import Shared as QueryShared
from sims.command_line import main
from sims.experiments.experiment import EXPERIMENTS, Plan, check_memory, find_experiment
from sims.records.key import settings_of as saved
from sims.white_box.table import WHITE_BOX
from sims.white_box.table import Shared as WhiteBoxShared
from theory.catalogue import CATALOGUE

EXTREME = ("0", "-1", "1", "2147483647", "2147483648", "9223372036854775808", "1e400", "1e308", "1e-308", "nan", "inf")
Words = tuple[str, ...]  # what is typed before a number; a last word that ends with `=` is joined to it
NUMBERS = st.one_of(
    st.sampled_from((*EXTREME, "-inf", "8/255", "1/0", "1e12", "")),
    st.integers().map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
)


def numeric(config: Any) -> Iterator[str]:
    """The options of a configuration that are numbers, or lists of them."""
    for name, kind in get_type_hints(config).items():
        if dataclasses.is_dataclass(kind):
            yield from numeric(kind)
        elif kind in (int, float, tuple[int, ...], tuple[float, ...]):
            yield f"--{name.replace('_', '-')}"


def settings_of(row: Any, shared: Any) -> list[str]:
    fields = [field for part in (row.settings(), shared) if part for field in dataclasses.fields(part)]
    return [field.name for field in fields if type(field.default) in (int, float)]


def experiments() -> Iterator[Words]:
    """Where a run would start it is a dry one."""
    for name in EXPERIMENTS:
        yield from (("sims", name, "--dry-run", option) for option in numeric(find_experiment(name).config))


def settings_of_rows() -> Iterator[Words]:
    """The settings of attacks and defences, which follow a name."""
    tables = (
        ("attack", "--attacks", ATTACKS, QueryShared()),
        ("white-box", "--attacks", WHITE_BOX, WhiteBoxShared()),
        ("moments", "--defenses", DEFENSES, None),
    )
    for experiment, option, table, shared in tables:
        for name, row in table.items():
            yield from (("sims", experiment, "--dry-run", option, f"{name}:{key}=") for key in settings_of(row, shared))


def statements() -> Iterator[Words]:
    """Every value of every statement, the others 1."""
    for label, bound in CATALOGUE.items():
        for name in bound.parameters:
            others = [word for other in bound.parameters if other != name for word in ("--set", f"{other}=1")]
            yield "theory", "eval", label, *others, "--set", f"{name}="


def trainings() -> Iterator[Words]:
    """Of what is trained and evaluated, without data."""
    there = ("--dataset", "cifar10", "--data-dir", "/nowhere")
    for name in ("epochs", "batch-size", "learning-rate", "adversarial-epsilon", "seed"):
        yield "defenses", "train", "classifier", "resnet20", *there, f"--{name}"
    yield "defenses", "evaluate", "resnet20", *there, "--seed"


def answer(words: Words, number: str) -> tuple[int, str]:
    """The exit status of the command with that number, and what it says on stderr."""
    package, *arguments = (*words[:-1], words[-1] + number) if words[-1].endswith("=") else (*words, number)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        return import_module(f"{package}.command_line").main(arguments), said.getvalue()


TYPED = [st.sampled_from(list(texts())) for texts in (experiments, settings_of_rows, statements, trainings)]


@settings(max_examples=250, derandomize=True, deadline=None, database=None)
@given(st.one_of(TYPED), NUMBERS)
def test_any_number_is_taken_or_refused_in_one_line(words, number):
    status, said = answer(words, number)
    assert status in (0, 2)
    if status == 2:
        assert said.startswith("error: ")
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "number"), [("0.03", 0.03), ("8/255", 8 / 255), ("inf", float("inf")), ("1e-3", 1e-3)]
)
def test_a_radius_is_read_as_people_type_it(text, number):
    assert read_number(text) == number


@pytest.mark.parametrize("text", ["", "x", "8/", "/255", "8/0", "8/255/2", "8 of 255"])
def test_what_is_no_radius_is_named(text, capsys):
    assert main(["attack", "--dry-run", "--epsilon", text]) == 2
    assert capsys.readouterr().err == f"error: --epsilon: must be a number such as 0.03 or 8/255, got {text!r}\n"


RADII = [("attack", "nes"), ("white-box", "pgd"), ("masking", ""), ("compare", ""), ("compare-white-box", "")]


@pytest.mark.parametrize(("experiment", "attack"), RADII)
def test_a_ball_that_holds_the_whole_box_is_a_warning(experiment, attack, capsys):
    arguments = [experiment, *(["--attacks", attack] if attack else []), "--dry-run", "--epsilon"]
    warning = "warning: epsilon 8 covers the whole box [0, 1]; is it 8/255?\n"
    for epsilon, said in (("8", warning), ("8/255", ""), ("1", "")):
        assert main([*arguments, epsilon]) == 0
        assert capsys.readouterr().err == said


def test_a_ball_of_another_norm_or_without_an_end_is_no_warning(capsys):
    assert main(["attack", "--dry-run", "--epsilon", "8", "--norm", "l2"]) == 0
    assert main(["attack", "--dry-run", "--epsilon", "inf", "--attacks", "rays"]) == 0
    assert capsys.readouterr().err == ""


def test_a_fraction_is_saved_as_the_number_it_is():
    one, other = (Threat(epsilon=epsilon) for epsilon in (read_number("3/20"), 0.15))
    assert json.dumps(saved(one)) == json.dumps(saved(other))


TOO_LARGE = [
    "attack --query-budget 2147483648",
    "attack --evaluations 9999999999",
    "attack --defenses quantizer:1e12",
    "attack --defenses quantizer:levels=1000000000000",
    "attack --rows 99999999999 --tile 99999999999",
    "attack --tile 1048576",
    "attack --rows 2147483647 --tile 2147483647",
    "moments --draws 2147483647",
    "convergence --steps 2147483648",
    "convergence --steps 2147483647",
    "convergence --num-directions 2147483647",
    "convergence --dimension 2147483647",
    "convergence --chains 99999999999",
    "convergence --chains 2147483647",
    "convergence --network-chains 2147483647",
    "diversity --draws 2147483647",
    "masking --rows 2147483647 --tile 2147483647",
    "masking --eot 2147483647",
    "moments --num-directions 2147483648",
    "moments --num-directions 2147483647",
    "moments --dimension 2147483647",
    "white-box --rows 2147483647 --tile 2147483647",
    "white-box --attacks pgd:restarts=2147483647",
    "white-box --attacks pgd:steps=2147483647",
]


@pytest.mark.parametrize("typed", TOO_LARGE)
def test_a_number_too_large_is_refused_before_the_run(typed, tmp_path, capsys):
    assert main([*typed.split(), "--out", str(tmp_path / "none")]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not (tmp_path / "none").exists()


def test_what_needs_more_memory_than_there_is_says_how_much(capsys):
    assert main(["convergence", "--chains", "2147483647"]) == 2
    assert re.search(r"needs about [\d,]{9,} MB of memory, this machine has [\d,]{5,} MB", capsys.readouterr().err)
    check_memory(Plan(1, 1.0, 1000.0))


def test_a_run_is_refused_from_half_as_much_again_as_there_is(monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}.get)
    check_memory(Plan(1, 1.0, 6400.0))
    with pytest.raises(ValueError, match=r"needs about 6,500 MB of memory, this machine has 4,295 MB"):
        check_memory(Plan(1, 1.0, 6500.0))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OverflowError("Python int too large"), "error: Python int too large\n"),
        (MemoryError("Unable to allocate 8 TiB"), "error: too little memory: Unable to allocate 8 TiB\n"),
        (RuntimeError("RESOURCE_EXHAUSTED: out\nof it"), "error: too little memory: RESOURCE_EXHAUSTED: out of it\n"),
    ],
)
def test_what_still_is_too_large_in_a_run_is_one_line(error, said, capsys):
    assert complaint(error) == 2
    assert capsys.readouterr().err == said
    with pytest.raises(KeyError):
        complaint(KeyError("a fault of ours"))
