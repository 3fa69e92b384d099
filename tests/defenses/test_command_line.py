import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from defenses.command_line import first_message, main
from tests.paths import ROOT


def typed(*arguments):
    """`python -m defenses ...` as a user types it: without the tests' cache, of which XLA speaks on stderr."""
    command = [sys.executable, "-m", "defenses", *arguments]
    settings = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120, check=False)


def one_line(stderr):
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert not set(stderr) & set("│╭╰─")
    return stderr


def test_bare_command_lists():
    done = typed()
    assert done.returncode == 0
    assert "random-purifier" in done.stdout
    assert done.stderr == ""


def test_evaluate_prints_one_json_document(cnn, purifiers, cache):
    out = str(cache.parent)
    done = typed("evaluate", "cnn", "--dataset", "digits", "--defense", "random-purifier", "--out", out, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    row = json.loads(done.stdout)
    figures = ["images", "accuracy", "standard_error", "images_per_second"]
    assert list(row) == ["model", "dataset", "defense", *figures, "passes", "weights"]
    assert row["images_per_second"] > 0
    assert (row["model"], row["dataset"], row["defense"]) == ("cnn", "digits", "random-purifier")
    assert row["images"] == 599
    assert row["accuracy"] > 0.96
    assert 0 < row["standard_error"] < 0.01


def test_bad_input_as_typed():
    done = typed("evaluate", "cnn", "--nonsense")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--nonsense" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["evaluate"], "MODEL"),
        (["evaluate", "vgg"], "vgg"),
        (["evaluate", "cnn", "--seed", "-1"], "seed must lie in 0..4294967295, got -1"),
        (["evaluate", "cnn", "--seed", "many"], "--seed"),
        (["evaluate", "cnn", "--dataset", "svhn"], "dataset must be one of digits, mnist, "),
        (["evaluate", "resnet20", "--dataset", "svhn"], "dataset must be one of digits, mnist, "),
        (["train", "--dataset", "svhn"], "dataset must be one of digits, mnist, "),
        (["train", "classifier", "resnet20", "--dataset", "svhn", "--dry-run"], "dataset must be one of cifar10, "),
        (["data", "fetch", "svhn"], "NAME must be one of digits, mnist, "),
        (["evaluate", "cnn", "--defense", "prayer"], "defense must be one of none,"),
        (["train", "--out", "/dev/null"], "cache must be a folder that can be written, got /dev/null/models"),
        (["--wrong"], "--wrong"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_input(arguments, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert named in one_line(captured.err)
    assert not any(tmp_path.iterdir())


def test_a_folder_has_no_weights_that_were_trained_for_it(tmp_path, capsys):
    (tmp_path / "pets/cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "pets/cat/a.png")
    assert main(["evaluate", "resnet20", "--dataset", str(tmp_path / "pets"), "--out", str(tmp_path)]) == 2
    assert "no weights of resnet20 for" in one_line(capsys.readouterr().err)


def test_damaged_weights_are_one_line(cnn, cache, tmp_path, capsys):
    models = tmp_path / "models"
    models.mkdir()
    for file in cache.glob("digits-cnn-seed0-*"):
        (models / file.name).write_bytes(file.read_bytes()[:-20])
    assert main(["evaluate", "cnn", "--out", str(tmp_path)]) == 2
    assert "delete it to train it again" in one_line(capsys.readouterr().err)


def test_train_says_what_is_cached(cnn, purifiers, cache, capsys):
    arguments = ["train", "--out", str(cache.parent), "--json"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["trained"]
    assert [row["model"] for row in rows] == ["cnn", "orthogonal", "purifiers"]
    assert all(row["cached"] and Path(row["file"]).exists() and row["accuracy"] > 0.95 for row in rows)


def test_list_as_json(capsys):
    assert main(["list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert tables["datasets"] == ["digits", "mnist", "fashion-mnist", "cifar10", "imagenet"]
    assert {"cnn", "orthogonal", "resnet20"} <= set(tables["classifiers"])


def test_help_leaves_with_status_zero(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--help"])
    assert not stop.value.code
    assert "--defense" in capsys.readouterr().out


@pytest.mark.parametrize(
    "box",
    [
        "╭─ Error ──╮\n│ too many │\n│   --cooks│\n│ ──────── │\n│ see help │\n╰──────────╯\n",
        " Error     \n-----------\n  too many \n    --cooks\n  -------- \n  see help \n           \n",
    ],
)
def test_first_message_of_a_box(box):
    assert first_message(box) == "too many --cooks"


def test_escape_sequences_in_a_name_are_not_printed(capsys, tmp_path):
    """Of a title, of colours, in eight bits, of the writing direction; half a surrogate pair, and a line's end."""
    name = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202ehtp.\udc80\n.th"
    assert main(["evaluate", "resnet20", "--weights", f"{tmp_path}/é{name}"]) == 2
    line = one_line(capsys.readouterr().err)
    assert line.removesuffix("\n").isprintable()
    assert "/é�]0;owned��[31m�2J�htp.� .th (no regular file)" in line
