"""The README's commands do what they are there for: every one is read in the fast set, and run in the slow one."""

import os
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
BLOCKS, EXAMPLES = ([text for language, text in FENCED if language == kind] for kind in ("", "python"))
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
PYTHON = ".venv/bin/python -m "
MODULES = [command.removeprefix(PYTHON).split() for command in COMMANDS if command.startswith(PYTHON)]
SMALLER = {  # the slow test of the main job attacks all 200
    "attack": ["--images", "20", "--draws", "64"],
    "white-box": ["--images", "10"],
}
MAIN = {folder: import_module(f"{folder}.command_line").main for folder in ("theory", "defenses", "sims", "figures")}
TARGETS = [command.split()[1] for command in COMMANDS if command.startswith("make ")]


def test_the_readme_names_all_four_folders_and_both_targets():
    assert {module for module, *_ in MODULES} == set(MAIN)
    assert TARGETS == ["run", "test"]


@pytest.mark.parametrize("command", MODULES, ids=" ".join)
def test_every_command_of_the_readme_is_understood(command, capsys):
    """An experiment says what it would cost; a figure, a listing or a statement is shown; nothing is trained."""
    module, *arguments = command
    if module == "sims" and "--dry-run" not in arguments and not arguments[0].endswith("attacks"):
        arguments.append("--dry-run")
    named = arguments if module == "figures" else []
    if named:
        arguments = []
    if module == "defenses" and arguments[0] in ("evaluate", "train"):
        pytest.skip("run by test_published_accuracy and test_train_command")
    if command == ["theory", "check"]:
        pytest.skip("every derivation is checked by itself in tests/theory, all at once in the slow set")
    assert MAIN[module](arguments) == 0
    shown = capsys.readouterr().out
    assert shown.strip()
    assert all(name in shown for name in named)


@pytest.mark.slow
@pytest.mark.as_users_compile
def test_every_command_of_the_readme_runs(tmp_path, models, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "models").symlink_to(models)
    for module, *arguments in MODULES:
        if module == "defenses" and arguments[0] in ("evaluate", "train"):
            continue  # run by test_published_accuracy and test_train_command
        arguments += SMALLER.get(arguments[0], [])
        out = (
            []
            if module == "theory" or arguments in (["data"], ["attacks"], ["white-box-attacks"])
            else ["--out", str(tmp_path / "results")]
        )
        status = MAIN[module]([*arguments, *out])
        printed = capsys.readouterr()
        assert status == 0, f"{module} {' '.join(arguments)}: {printed.err[-500:]}"
        assert printed.out.strip()
    assert (tmp_path / "results" / "figures" / "second-moment.pdf").stat().st_size > 1000


def test_the_example_attacks_a_callable():
    [example] = [text for text in EXAMPLES if not text.startswith("# ")]  # the files: tests/defenses/test_own.py
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


def test_the_picture_is_there():
    text = (ROOT / "README.md").read_text()
    assert "@" not in re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert (ROOT / "figures" / "data" / "second-moment.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_main_job_from_a_fresh_clone(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for _ in range(2):
        run = subprocess.run(["make", "run"], cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-2000:]
        assert "negative controls caught: 8 of 8" in run.stdout
