import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.command_line import main
from defenses.training import cost, recipe
from defenses.weights import trained_classifier
from tests.defenses.classifiers.tiny_network import TINY
from tests.paths import ROOT

DATA = ROOT / "data"
RECORD = ROOT / "figures" / "data" / "training" / "resnet20-two-epochs.json"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PUREBOUND_DATA", raising=False)


@pytest.fixture
def tiny(monkeypatch):
    """A network that compiles in a moment under the name of resnet20, whose steps are timed for a moment."""
    monkeypatch.setitem(ARCHITECTURES, "resnet20", TINY._replace(recipe=ARCHITECTURES["resnet20"].recipe))
    monkeypatch.setattr(cost, "LONG_ENOUGH", 0.05)


def refused(capsys, *arguments):
    """The one line on stderr of a command that must exit with status 2, write nothing and print nothing."""
    assert main(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert not list(Path().iterdir())
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["classifier"], "MODEL"),
        (["classifier", "resnet21"], "model must be one of resnet20,"),
        (["classifier", "resnet50", "--dataset", "cifar10"], "got 'resnet50'"),
        (["classifier", "vit-tiny-16"], "image_shape must have sides divisible by 16"),
        (["classifier", "resnet20", "--dataset", "svhn"], "dataset must be one of cifar10,"),
        (["classifier", "resnet20", "--dataset", "imagenet"], "got 'imagenet'"),
        (["classifier", "resnet20", "--epochs", "0"], "epochs must be in [1, 100000], got 0"),
        (["classifier", "resnet20", "--epochs", "-3"], "epochs must be in [1, 100000], got -3"),
        (["classifier", "resnet20", "--epochs", "many"], "--epochs"),
        (["classifier", "resnet20", "--batch-size", "1199"], "batch_size must lie in 1..1198, the training images"),
        (["classifier", "resnet20", "--batch-size", "0", "--dry-run"], "batch_size must lie in 1..1198"),
        (["classifier", "resnet20", "--learning-rate", "-0.1"], "learning_rate must be > 0 and finite, got -0.1"),
        (["classifier", "resnet20", "--learning-rate", "inf"], "learning_rate must be > 0 and finite, got inf"),
        (["classifier", "resnet20", "--adversarial-epsilon", "0"], "adversarial_epsilon must lie in (0, 255]"),
        (["classifier", "resnet20", "--adversarial-epsilon", "256"], "got 256"),
        (["classifier", "resnet20", "--seed", "-1"], "seed must lie in 0..4294967295, got -1"),
        (["classifier", "resnet20", "--out", "/dev/null"], "cache must be a folder that can be written"),
        (["classifier", "resnet20", "--dataset", "cifar10"], "python -m defenses data fetch cifar10"),
        (["classifier", "resnet20", "--frobnicate"], "--frobnicate"),
        (["everything"], "everything"),
        (["--dataset", "svhn"], "dataset must be one of"),
    ],
)
def test_bad_input(arguments, named, capsys):
    assert named in refused(capsys, *arguments)


def test_the_parser_imports_no_jax():
    look = "import sys, defenses.command_line; print([m for m in ('jax', 'orbax', 'optax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HELP = {
    "": ["classifier", "defaults"],
    "defaults": ["seconds each on the digits", "on CIFAR-10 the orthogonal network", "more than an hour"],
    "classifier": ["units of 1/255", "this project's recipe of the model", "wide-resnet-28-10"],
}


@pytest.mark.parametrize("subcommand", HELP)
def test_help_shows_units_and_defaults(subcommand, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", *subcommand.split(), "--help"])
    assert not stop.value.code
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(words in text for words in [*HELP[subcommand], "(default: digits)", "--data-dir", "--json"])
    assert "published recipe" not in text


def result(capsys, *arguments, of="trained"):
    """What the command printed as JSON, and its lines on stderr."""
    assert main(["train", "classifier", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out)[of], captured.err


def test_a_classifier_learns_the_digits_and_is_cached(tiny, capsys):
    command = ["resnet20", "--epochs", "3", "--batch-size", "64"]
    (row,), log = result(capsys, *command)
    assert (row["model"], row["dataset"], row["seed"], row["cached"]) == ("resnet20", "digits", 0, False)
    assert row["accuracy"] > 0.9
    assert [epoch["epoch"] for epoch in row["history"]] == [1, 2, 3]
    assert [line.split(":")[0] for line in log.splitlines()] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    file = Path(row["file"])
    assert file.parent == Path("results/models")
    assert sorted(p.suffix for p in file.parent.iterdir()) == [".json", ".safetensors"]
    assert json.loads(file.with_suffix(".json").read_text())["recipe"]["epochs"] == 3
    (again,), log = result(capsys, *command)
    assert again == row | {"cached": True}
    assert log == ""
    assert main(["train", "classifier", *command]) == 0
    assert "cached" in capsys.readouterr().out


def test_dry_run_writes_nothing_and_counts_the_steps(tiny, capsys):
    known, _ = result(capsys, "resnet20", "--batch-size", "100", "--dry-run", of="cost")
    assert known["steps"] == 200 * 11
    assert known["seconds"] == pytest.approx(known["steps"] * known["seconds_per_step"])
    assert known["memory"] > 1198 * 64 * 4
    forward = known["operations"] / (3 * known["steps"] * 100)
    multiply_adds = 4 * 4 * 9 * (8 + 64) + 2 * 64 * 10
    assert 0.6 < forward / (2 * multiply_adds) < 1.2
    assert main(["train", "classifier", "resnet20", "--dry-run"]) == 0
    assert "nothing trained" in capsys.readouterr().out
    assert not list(Path().iterdir())


def test_operations_that_are_not_counted_are_null(tiny, capsys, monkeypatch):
    monkeypatch.setattr(jax.stages.Lowered, "cost_analysis", lambda self: None)
    assert main(["train", "classifier", "resnet20", "--dry-run", "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=pytest.fail)["cost"]["operations"] is None
    assert main(["train", "classifier", "resnet20", "--dry-run"]) == 0
    assert "unknown" in capsys.readouterr().out


def test_the_table_says_on_which_images_robustness_was_measured(tiny, capsys, monkeypatch):
    monkeypatch.setattr(trained_classifier, "ROBUST_IMAGES", 300)
    monkeypatch.setenv("COLUMNS", "200")
    options = ["--epochs", "1", "--adversarial-epsilon", "8"]
    assert main(["train", "classifier", "resnet20", *options]) == 0
    table = capsys.readouterr().out
    assert "accuracy, 599 images" in table
    assert "under PGD-20, 300 of 599 images, drawn at random" in table


def test_a_run_that_diverges_leaves_one_line_and_no_file(tiny, capsys):
    options = ["--epochs", "1", "--batch-size", "1198", "--learning-rate", "1e38"]
    assert main(["train", "classifier", "resnet20", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: learning_rate must be small enough for finite numbers: ")
    assert captured.err.count("\n") == 1
    assert not [path for path in Path().rglob("*") if path.name not in ("results", "models")]


@pytest.mark.slow
def test_resnet20_learns_the_digits(capsys):
    (row,), _ = result(capsys, "resnet20", "--epochs", "4", "--learning-rate", "0.05")
    assert row["accuracy"] > 0.7


def test_options_reach_the_recipe(capsys, monkeypatch):
    seen = []

    def stop(recipe, images):
        seen.append(recipe)
        raise ValueError

    monkeypatch.setattr(recipe, "check", stop)
    options = ["--epochs", "7", "--batch-size", "9", "--learning-rate", "0.3", "--adversarial-epsilon", "16"]
    main(["train", "classifier", "wide-resnet-28-10", *options])
    main(["train", "classifier", "wide-resnet-28-10"])
    given, default = seen
    assert (given.epochs, given.batch_size, given.learning_rate) == (7, 9, 0.3)
    assert (given.adversary.epsilon, given.adversary.step_size, given.adversary.steps) == (16, 4, 10)
    changed = {"epochs": 40, "batch_size": 128, "learning_rate": 0.1, "adversary": None}
    assert default == replace(given, **changed)


@pytest.mark.skipif(not RECORD.exists(), reason="no record of the two-epoch run")
def test_the_record_of_two_epochs_on_cifar10_shows_learning():
    card = json.loads(RECORD.read_text())
    assert (card["model"], card["dataset"], card["recipe"]["epochs"]) == ("resnet20", "cifar10", 2)
    first, second = card["measured"]["history"]
    assert 0.35 < first["test_accuracy"] < second["test_accuracy"]
    assert card["measured"]["accuracy"] == pytest.approx(second["test_accuracy"], abs=1e-3)
    assert second["loss"] < first["loss"] < np.log(10)
    assert "/" not in card["command"]


@pytest.mark.skipif(not (DATA / "cifar-10-batches-bin").is_dir(), reason="CIFAR-10 is not in data/")
@pytest.mark.slow
def test_dry_run_on_cifar10(tiny, capsys):
    options = ["--dataset", "cifar10", "--data-dir", str(DATA), "--batch-size", "16", "--dry-run"]
    known, _ = result(capsys, "resnet20", *options, of="cost")
    assert known["steps"] == 200 * 3125
    assert 50_000 * 32 * 32 * 3 < known["memory"] < 2 * 50_000 * 32 * 32 * 3  # a byte per pixel
