"""The command line as a user types it: exit statuses, one clear line, nothing half-written."""

import json
import subprocess
import sys

import pytest

from sims.command_line import main
from sims.experiments.experiment import EXPERIMENTS
from sims.records import store

BAD = {
    "unknown experiment": (["atack"], "experiment must be one of verify, moments"),
    "unknown option": (["moments", "--sampels", "3"], "--sampels"),
    "not a number": (["moments", "--samples", "many"], "--samples"),
    "negative radius": (["moments", "--smoothing-radii", "-0.1"], "smoothing_radii must be > 0 and finite, got -0.1"),
    "budget 0": (["attack", "--query-budget", "0"], "query_budget must be >= 1, got 0"),
    "negative ball": (["attack", "--epsilon", "-1"], "epsilon must be > 0, got -1.0"),
    "unknown attack": (["attack", "--attacks", "nes", "sqare"], "got 'sqare'"),
    "unknown defence": (["attack", "--defenses", "firewall"], "firewall"),
    "unknown model": (["diversity", "--model", "gpt"], "gpt"),
    "unknown statement": (["verify", "--statements", "E99"], "E99"),
    "negative seed": (["convergence", "--seed", "-1"], "seed must be >= 0 and < 2**32, got -1"),
    "huge seed": (["moments", "--seed", "99999999999999999999"], "seed must be >= 0 and < 2**32"),
    "repeated attack": (["attack", "--attacks", "nes", "nes"], "attacks must name at least one and repeat none"),
    "attack in two spellings": (["attack", "--attacks", "nes", "nes:average=1"], "repeat none, got nes, nes"),
    "defence in two spellings": (
        ["attack", "--defenses", "gaussian-noise", "gaussian-noise:std=0.050"],
        "defenses must name at least one and repeat none, got gaussian-noise, gaussian-noise",
    ),
    "chain in two spellings": (
        ["diversity", "--defenses", "mean-of:runs=10+jpeg", "none+mean-of+jpeg:quality=75"],
        "defenses must name at least one and repeat none, got mean-of+jpeg, mean-of+jpeg",
    ),
    "white-box attack in two spellings": (
        ["white-box", "--attacks", "pgd:eot=2,route=around", "pgd:route=around,eot=2,restarts=1"],
        "attacks must name at least one and repeat none, got pgd:route=around,eot=2, pgd:route=around,eot=2",
    ),
    "repeated model": (
        ["attack", "--model", "cnn", "cnn"],
        "model must name at least one and repeat none, got cnn, cnn",
    ),
    "repeated statement": (["verify", "--statements", "E3-forward", "E3-forward"], "statements must name at least one"),
    "no radii": (["moments", "--smoothing-radii"], "smoothing_radii must name at least one"),
    "no defences": (["convergence", "--defenses"], "defenses must name at least one"),
    "patch that does not fit": (
        ["diversity", "--patches-per-side", "3"],
        "patches_per_side must divide the side",
    ),
    "less than a step": (["attack", "--query-budget", "20"], "query_budget must be > 20, one step of nes"),
    "network without weights": (["attack", "--model", "resnet20"], "no weights of resnet20 for digits"),
    "unknown data set": (["moments", "--dataset", "svhn"], "dataset must be one of digits"),
    "setting without a name": (
        ["attack", "--defenses", "mean-filter:2"],
        "a setting of mean-filter must be one of size",
    ),
    "setting that is no number": (
        ["moments", "--defenses", "gaussian-noise:std=x"],
        "gaussian-noise:std must be a number",
    ),
    "defence without settings": (["attack", "--defenses", "none:std=1"], "a setting of none must be left out"),
    "the second of two defences": (["attack", "--defenses", "none+quantiser"], "defense must be one of none, gaussian"),
    "two models for one": (["verify", "--model", "cnn", "orthogonal"], "model must be one here, got cnn, orthogonal"),
    "weights of a small network": (["moments", "--weights", "f.th"], "weights can be given for resnet20"),
    "weights that are not there": (["moments", "--model", "resnet20", "--weights", "f.th"], "got f.th"),
    "unstable step": (["convergence", "--step-fraction", "1.5"], "step_fraction must be < 1, got 1.5"),
    "too many images": (["attack", "--images", "100000"], "images must be in [1, "),
    "rows and tile": (["attack", "--rows", "10"], "rows must be a positive multiple of tile = 16, got 10"),
    "unknown stopping rule": (["attack", "--stopping", "luck"], "stopping must be first-success, re-evaluation or"),
    "no evaluations": (["attack", "--evaluations", "0"], "evaluations must be >= 1, got 0"),
    "recheck of nothing": (["attack", "--recheck", "nowhere"], "no record in nowhere;"),
    "recheck of another experiment": (["moments", "--recheck", "nowhere"], "not to moments"),
    "norm that is not there": (["attack", "--attacks", "zo-adam", "--norm", "l2"], "norm must be linf for zo-adam"),
    "white-box attack among queries": (["attack", "--attacks", "pgd"], "got 'pgd'"),
    "no such route": (["white-box", "--attacks", "pgd:route=over"], "pgd:route must be one of through, around, blind"),
    "ball without an end": (["white-box", "--epsilon", "inf"], "epsilon must be > 0 and finite, got inf"),
    "more views than images": (
        ["masking", "--views", "20", "--images", "12"],
        "views must be <= 12, the images, got 20",
    ),
    "levels that are none": (
        ["masking", "--defenses", "quantizer:levels=1"],
        "levels must be >= 2, got 1",
    ),
    "too large a pool": (["diversity", "--pool-sizes", "50"], "pool_sizes must be <= 8"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_clear_line_and_leaves_nothing(results, capsys, arguments, words):
    before = set(results.rglob("*"))
    target = ["--out", str(results)] if arguments[0] in EXPERIMENTS else []
    assert main([*arguments, *target]) == 2
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1]
    assert out == ""
    assert last.startswith("error: ")
    assert words in last
    assert "parsing config" not in last
    assert set(results.rglob("*")) == before


def test_an_unwritable_folder_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["moments", "--out", str(tmp_path / "file" / "results")]) == 2
    assert "out must be a writable folder" in capsys.readouterr().err


def test_a_damaged_record_is_named(results, capsys):
    arguments = [
        "moments",
        "--samples",
        "2000",
        "--instances",
        "quadratic",
        "--smoothing-radii",
        "0.1",
        "--out",
        str(results),
        "--json",
    ]
    assert main(arguments) == 0
    record = store.latest(results, "moments")
    whole = (record.folder / "manifest.json").read_text()
    better = whole.replace('"second_moment": ', '"second_moment": 1')
    (record.folder / "manifest.json").write_text(better)
    capsys.readouterr()
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert f"record {record.folder} is damaged (manifest.json was altered)" in shown.err
    (record.folder / "manifest.json").write_text(whole)
    (record.folder / "data.nc").write_bytes(b"nonsense")
    capsys.readouterr()
    assert main(arguments) == 2
    assert f"record {record.folder} is damaged" in capsys.readouterr().err
    (record.folder / "manifest.json").write_text("{}")
    assert main(arguments) == 2
    (record.folder / "manifest.json").unlink()
    assert main(arguments) == 0


def test_json_is_one_document_and_nothing_else(results, capsys):
    arguments = ["moments", "--samples", "2100", "--instances", "quadratic", "--smoothing-radii", "0.1"]
    assert main([*arguments, "--out", str(results), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["rows"]) == 2


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_dry_run_says_what_it_costs_and_does_nothing(name, tmp_path, capsys):
    assert main([name, "--dry-run", "--json", "--out", str(tmp_path / "none")]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert all(plan[key] > 0 for key in ("rows", "seconds", "megabytes"))
    assert not (tmp_path / "none").exists()


def test_called_bare_it_lists_the_experiments():
    run = subprocess.run([sys.executable, "-m", "sims"], capture_output=True, text=True, check=True)
    assert all(name in run.stdout for name in EXPERIMENTS)
    assert run.stderr == ""


def test_bad_input_from_the_shell_has_no_traceback():
    run = subprocess.run([sys.executable, "-m", "sims", "atack"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1


def test_missing_data_are_not_answered_from_a_record(results, tmp_path, capsys):
    arguments = ["diversity", "--model", "resnet20", "--dataset", "cifar10", "--out", str(results)]
    assert main([*arguments, "--data-dir", str(tmp_path / "none")]) == 2
    assert "no weights of resnet20 for cifar10" in capsys.readouterr().err


def test_an_error_is_one_printable_line(tmp_path, capsys):
    assert main(["moments", "--weights", str(tmp_path / "a\x1b[31m\nb"), "--model", "resnet20"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "\x1b" not in line


def test_the_table_of_attacks(capsys):
    assert main(["attacks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    keys = {"name", "feedback", "norms", "targeted", "queries_per_step", "source"}
    assert all(set(row) == keys for row in rows)
    assert {"nes", "square", "null"} <= {row["name"] for row in rows}
    assert main(["attacks"]) == 0
    assert "smoothing_radius=0.01" in capsys.readouterr().out
    assert main(["attacks", "--jsn"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
