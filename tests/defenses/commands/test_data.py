import json
import subprocess
import sys
from pathlib import Path

import pytest

from defenses.command_line import main
from tests.paths import ROOT


def typed(*arguments, data):
    """`python -m defenses data ...` as a user types it, with $PUREBOUND_DATA set."""
    command = [sys.executable, "-m", "defenses", "data", *arguments]
    environment = {"PUREBOUND_DATA": str(data), "PATH": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def tables(capsys, *arguments):
    assert main(["data", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_bare_command_lists_what_is_here(tmp_path):
    done = typed(data=tmp_path / "none")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("digits", "mnist", "fashion-mnist", "cifar10", "imagenet", "absent", "complete: 1,198"):
        assert name in done.stdout
    assert not (tmp_path / "none").exists()


def test_list_as_json(capsys, tmp_path):
    listed = tables(capsys, "--data-dir", str(tmp_path))
    assert list(listed) == ["datasets", "weights"]
    assert [row["name"] for row in listed["datasets"]] == ["digits", "mnist", "fashion-mnist", "cifar10", "imagenet"]
    states = {row["name"]: row["state"] for row in listed["datasets"]}
    assert states == dict.fromkeys(states, "absent") | {"digits": "complete"}
    assert listed["datasets"][0]["test"] == 599
    assert "resnet20-12fca82f.th" in [row["file"] for row in listed["weights"]]
    assert listed == tables(capsys, "list", "--data-dir", str(tmp_path))


def test_what_is_wrong_is_listed(capsys, tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/t10k-labels-idx1-ubyte").write_bytes(b"cut")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/resnet20-12fca82f.th").write_bytes(b"cut")
    row = tables(capsys, "--data-dir", str(tmp_path))["datasets"][1]
    assert (row["state"], row["altered"]) == ("altered", ["t10k-labels-idx1-ubyte"])
    assert row["missing"][0] == "train-images-idx3-ubyte"
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["data", "--data-dir", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "altered: t10k-labels-idx1-ubyte" in table
    assert table.count("altered") == 2


def test_the_data_folder_comes_from_the_environment(capsys, tmp_path, monkeypatch):
    (tmp_path / "imagenet/val/n01440764").mkdir(parents=True)
    (tmp_path / "imagenet/val/n01440764/a.JPEG").touch()
    monkeypatch.setenv("PUREBOUND_DATA", str(tmp_path))
    row = tables(capsys)["datasets"][-1]
    assert (row["state"], row["test"]) == ("partial", 1)


def test_fetch_says_what_it_did(capsys, tmp_path):
    assert main(["data", "fetch", "digits", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "digits: here already\n"
    assert tables(capsys, "fetch", "digits", "--data-dir", str(tmp_path)) == {"name": "digits", "written": []}


REAL = ROOT / "data/fashion_mnist"


@pytest.mark.skipif(not REAL.is_dir(), reason="Fashion-MNIST is not in data/")
def test_fetch_from_a_folder(capsys, tmp_path):
    written = tables(capsys, "fetch", "fashion-mnist", "--from", str(REAL), "--data-dir", str(tmp_path))["written"]
    assert sorted(Path(path).name for path in written) == sorted(path.name for path in REAL.iterdir())
    listed = tables(capsys, "--data-dir", str(tmp_path))
    row = next(row for row in listed["datasets"] if row["name"] == "fashion-mnist")
    assert (row["state"], row["train"], row["test"]) == ("complete", 60000, 10000)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fetch"], "`data fetch` needs the NAME of a data set or a file of published weights"),
        (["fetch", "kmnist"], "NAME must be one of digits, mnist"),
        (["fetch", "imagenet"], "imagenet can't be downloaded without an account"),
        (["fetch", "mnist", "--from", "nowhere"], "--from must be a folder, got nowhere"),
        (["fetch", "mnist", "--from", "."], "train-images-idx3-ubyte is missing"),
        (["list", "mnist"], "`data list` takes no NAME"),
        (["look"], "look"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert named in captured.err
    assert not any(tmp_path.iterdir())


def test_bad_input_as_typed(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given/resnet20-12fca82f.th").write_bytes(b"other weights")
    done = typed("fetch", "resnet20-12fca82f.th", "--from", str(tmp_path / "given"), data=tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path}/given/resnet20-12fca82f.th must have sha256 12fca82f0beb")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_jax_is_not_imported_before_a_command_runs():
    code = "import sys; from defenses.command_line import main; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
