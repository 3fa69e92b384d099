"""The READMEs' commands do what they are there for: every one is read in the fast set, and run in the slow one."""

import json
import os
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.paths import DATA, ROOT, readmes

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINES = 120  # of the face
PYTHON = ".venv/bin/python -m "
SMALLER = {  # the slow test of the main job attacks all 200
    "attack": ["--images", "20", "--draws", "64"],
    "white-box": ["--images", "10"],
}
MAIN = {folder: import_module(f"{folder}.command_line").main for folder in ("theory", "defenses", "sims", "figures")}
LISTINGS = (["data"], ["attacks"], ["white-box-attacks"], ["tables"])  # which write no records


def fenced(path: Path, kind: str) -> list[str]:
    """The blocks of that language in a README."""
    return [text for language, text in FENCED.findall(path.read_text()) if language == kind]


def commands(path: Path) -> list[str]:
    """The commands that a README gives, in fences and indented."""
    lines = [line for text in fenced(path, "") for line in text.splitlines()]
    lines += [line for line in path.read_text().splitlines() if line.startswith(f"    {PYTHON}")]
    return [line.split("#")[0].strip() for line in lines]


def modules(path: Path) -> list[list[str]]:
    """Those commands that are one of the four, as arguments; the user's own files are of the folder `own`."""
    return [line.removeprefix(PYTHON).split() for line in commands(path) if line.startswith(PYTHON)]


FACE = ROOT / "README.md"
EVERY = [(path, command) for path in readmes() for command in modules(path)]
TARGETS = [command.split()[1] for command in commands(FACE) if command.startswith("make ")]


def test_the_face_is_short_and_names_all_four_folders_and_both_targets():
    assert len(FACE.read_text().splitlines()) <= LINES
    assert {module for module, *_ in modules(FACE)} == set(MAIN)
    assert TARGETS == ["run", "test"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with the files of the READMEs, by README: run from there, commands find them."""

    def at(path: Path) -> None:
        for text in fenced(path, "python"):
            if text.startswith("# "):
                (tmp_path / text.split()[1]).write_text(text)
        monkeypatch.chdir(tmp_path)

    return at


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[" ".join(command) for _, command in EVERY])
def test_every_command_is_understood(path, command, own, capsys):
    """An experiment says what it would cost; a figure, a listing or a statement is shown; nothing is trained."""
    own(path)
    module, *arguments = command
    if module == "sims" and "--dry-run" not in arguments and not arguments[0].endswith("attacks"):
        arguments.append("--help" if arguments[0] == "status" else "--dry-run")
    named = arguments if module == "figures" else []
    if named:
        arguments = []
    if module == "defenses" and arguments[0] in ("evaluate", "train"):
        pytest.skip("run by test_published_accuracy, test_train_command and the slow test below")
    if command == ["theory", "check"]:
        pytest.skip("every derivation is checked by itself in tests/theory, all at once in the slow set")
    assert status_of(module, arguments) == 0
    shown = capsys.readouterr().out
    assert shown.strip()
    assert all(name in shown for name in named)


def status_of(module: str, arguments: list[str]) -> int:
    """Exit status; that of a help page comes as an exception."""
    try:
        return MAIN[module](arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.slow
@pytest.mark.as_users_compile
@pytest.mark.parametrize("path", readmes(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_runs(path, tmp_path, models, own, capsys, monkeypatch):
    monkeypatch.setenv("PUREBOUND_DATA", str(DATA))
    own(path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "models").symlink_to(models)
    for module, *arguments in modules(path):
        if module == "defenses" and arguments[0] == "train":
            continue  # by test_train_command
        if "resnet20" in arguments and not (DATA / "weights").exists():
            continue  # published weights are not here
        if module == "figures" and arguments != ["tables"]:
            assert MAIN["sims"](["attack", *SMALLER["attack"]]) == 0  # as `make run` has by then
        arguments += SMALLER.get("".join(arguments[:1]), [])
        out = [] if module == "theory" or arguments in LISTINGS else ["--out", str(tmp_path / "results")]
        status = MAIN[module]([*arguments, *out])
        printed = capsys.readouterr()
        assert status == 0, f"{module} {' '.join(arguments)}: {printed.err[-500:]}"
        assert printed.out.strip()


def test_the_example_of_the_face_is_short_and_evaluated(own, models, tmp_path, capsys):
    """15 lines of code, and the first command below them; the slow test above runs both."""
    own(FACE)
    [example] = fenced(FACE, "python")
    assert len([line for line in example.splitlines() if line.strip() and not line.startswith("#")]) <= 15
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "models").symlink_to(models)
    named = [arguments for _, *arguments in modules(FACE) if any(word.startswith("mine.py:") for word in arguments)]
    assert [arguments[0] for arguments in named] == ["evaluate", "attack"]
    assert MAIN["defenses"]([*named[0], "--json"]) == 0
    assert 0.2 < json.loads(capsys.readouterr().out)["accuracy"] < 0.8  # 0.9 without the wobble, 0.1 by chance


def test_the_example_attacks_a_callable():
    [example] = fenced(ROOT / "sims" / "attacks" / "README.md", "python")
    names: dict[str, Any] = {}
    exec(example, names)
    result = names["result"]
    assert result.success.mean() > 0
    assert (result.queries <= 200).all()
    fooled = names["scores"](result.images).argmax(axis=1) != names["labels"]
    assert (fooled == result.success).all()


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_targets(target):
    run = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = ("sims verify", "sims attack", "figures summary") if target == "run" else ("pytest",)
    assert all(words in run.stdout for words in expected)


def test_what_is_linked_is_there():
    """Every picture that a README shows, and every page that it leads to."""
    for path in readmes():
        text = re.sub(FENCED, "", path.read_text())
        assert "@" not in text
        for place in re.findall(r"\]\(([^)]+)\)", text):
            assert place.startswith("http") or (path.parent / place).is_file(), (path, place)
    assert "claims.png" in FACE.read_text()


@pytest.mark.slow
def test_the_main_job_from_a_fresh_clone(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for _ in range(2):
        run = subprocess.run(["make", "run"], cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-2000:]
        assert "negative controls caught: 13 of 13" in run.stdout
