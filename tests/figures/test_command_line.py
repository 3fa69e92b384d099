"""`python -m figures` as a user types it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from figures.command_line import main
from figures.registry import PLOTS
from sims.records.store import read, write
from tests.paths import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "figures", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def results(out, tmp_path):
    """A results folder of its own."""
    return Path(shutil.copytree(out, tmp_path / "results", ignore=shutil.ignore_patterns("figures")))


def test_bare_lists_every_figure_with_its_records():
    bare = run()
    assert (bare.returncode, bare.stderr) == (0, "")
    listed = [line.split()[0] for line in bare.stdout.splitlines()[2:]]
    assert listed == [*PLOTS, "tables", "summary"]
    for name, plot in PLOTS.items():
        line = next(line for line in bare.stdout.splitlines() if f"  {name} " in line)
        assert plot.title in line
        assert all(experiment in line for experiment in plot.needs)


def test_bare_json_is_one_document(capsys):
    assert main(["--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(PLOTS)
    assert set(rows[0]) == {"name", "title", "records"}


def test_named_figures_as_json(results, capsys):
    assert main(["diversity", "second-moment", "diversity", "--out", str(results), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    figures = json.loads(printed.out)["figures"]
    assert [figure["name"] for figure in figures] == ["diversity", "second-moment"]
    for figure in figures:
        expected = [str(results / "figures" / f"{figure['name']}{suffix}") for suffix in (".pdf", ".png")]
        assert figure["files"] == expected
        assert all(Path(path).stat().st_size > 1000 for path in expected)


def test_summary_json_has_the_numbers(out, synthetic, capsys):
    assert main(["summary", "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    reference, *_, last = document["defenses"]
    assert (reference["slow_down"], last["slow_down"], last["slow_down_predicted"]) == (1.0, 2.0, 1.8)
    assert last["slow_down_interval"] == [1.9, 2.1]
    assert set(last["robust_accuracy"]) == {"nes", "square", "null"}
    assert last["robust_accuracy"]["square"] == {
        "value": pytest.approx(0.6),
        "interval": pytest.approx([0.55, 0.65]),
        "average_of_n": pytest.approx(0.7),
        "worst_of_n": pytest.approx(0.5),
    }
    assert [row["evaluations"] for row in document["defenses"]] == [1, 10, 10]
    rows = synthetic["verify"]()[1]["report"]["rows"]
    proven = [row for row in rows if row["certified"] and row["status"] == "proven"]
    statements = document["statements"]
    assert (statements["held"], statements["tested"]) == (len(proven), len(proven))
    assert len(statements["variants_violated"]) == 1
    assert statements["variants_violated"][0].endswith(" on somewhere")
    assert statements["not_held"] == []
    assert document["controls"] == {"caught": 1, "all": 2}


def test_a_proven_row_that_fails_is_counted_and_named(results, capsys):
    folder, data, manifest = read(results / "verify" / "0")
    row = next(r for r in manifest["report"]["rows"] if r["label"] == "E3-forward")
    row.update(holds=False, verdict="violated")
    write(folder, data, manifest)
    assert main(["summary", "--out", str(results), "--json"]) == 0
    statements = json.loads(capsys.readouterr().out)["statements"]
    assert statements["held"] == statements["tested"] - 1
    assert statements["not_held"] == ["E3-forward on somewhere"]


def test_record_without_report_or_without_nes_is_an_error(results, capsys):
    folder, data, manifest = read(results / "attack" / "0")
    manifest["report"]["rows"] = [row for row in manifest["report"]["rows"] if row["attack"] != "nes"]
    write(folder, data, manifest)
    assert main(["summary", "--out", str(results)]) == 2
    assert capsys.readouterr().err == "error: the attack record has no nes; run `python -m sims attack` again\n"
    write(folder, data, manifest | {"report": {}})
    assert main(["summary", "--out", str(results)]) == 2
    assert "has no report; run `python -m sims attack` again" in capsys.readouterr().err


@pytest.mark.parametrize(("experiment", "page"), [("attack", "summary"), ("verify", "tightness"), ("moments", "all")])
def test_an_edited_record_is_one_line(results, capsys, experiment, page):
    path = results / experiment / "0" / "manifest.json"
    whole = json.loads(path.read_text())
    for edited in (whole | {"config": None}, whole | {"added": 1}, {"config": whole["config"]}, [whole]):
        path.write_text(json.dumps(edited))
        assert main([page, "--out", str(results)]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(f"error: record {path.parent} is damaged (manifest.json ")
        assert shown.count("\n") == 1


BAD = [
    (
        ["moment"],
        "figure must be one of second-moment, convergence, diversity, noise-variance, tightness, ",
    ),
    (["diversity", "summary"], "got 'summary'"),
    (["--colour"], "--colour"),
    (["diversity", "--out"], "--out"),
    (
        ["second-moment", "--out", "/nowhere"],
        "no record of moments under /nowhere; run `python -m sims moments` first",
    ),
    (
        ["summary", "--out", "/nowhere"],
        "no record of attack under /nowhere; run `python -m sims attack` first",
    ),
]


@pytest.mark.parametrize(("arguments", "complaint"), BAD, ids=lambda value: " ".join(value)[:30])
def test_bad_input_is_one_line(arguments, complaint, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert complaint in shown.err


def test_bad_input_in_a_shell():
    answer = run("x", "--json")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("error: figure must be one of ")
    assert answer.stderr.count("\n") == 1


def test_folder_that_cannot_be_written(results, capsys):
    (results / "figures").write_text("in the way")
    assert main(["diversity", "--out", str(results)]) == 2
    assert "out must be a writable folder" in capsys.readouterr().err
    assert (results / "figures").read_text() == "in the way"


def test_help_shows_the_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--out", "--json", "[NAME ...]"))


def test_all_leaves_out_what_was_never_run(results, capsys):
    for experiment in ("masking", "convergence", "diversity", "attack", "verify", "cost"):
        shutil.rmtree(results / experiment)
    assert main(["all", "--out", str(results)]) == 0
    shown = capsys.readouterr()
    assert "second-moment" in shown.out
    assert "loss-surface" not in shown.out
    assert "left out loss-surface: `python -m sims masking` was not run\n" in shown.err
    shutil.rmtree(results / "moments")
    assert main(["all", "--out", str(results)]) == 2
    assert "no record under" in capsys.readouterr().err
