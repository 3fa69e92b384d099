"""The table of figures: complete, drawn from its records alone, and without jax."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from figures.plot import Plot, gather
from figures.registry import PLOTS, find_plot
from figures.rendering import render
from sims.records import store
from tests.paths import ROOT

FILES = sorted((ROOT / "figures").rglob("*.py"))


def test_every_file_with_a_plot_is_in_the_table_and_the_other_way_round():
    declared = [path for path in FILES if re.search(r"^PLOT = ", path.read_text(), re.M)]
    assert {path.stem for path in declared} == {name.replace("-", "_") for name in PLOTS}
    for path in declared:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert importlib.import_module(module).PLOT is PLOTS[path.stem.replace("_", "-")]
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in PLOTS)


def test_titles_are_short_and_records_are_experiments(synthetic):
    for plot in PLOTS.values():
        assert 10 < len(plot.title) <= 70
        assert set(plot.needs) <= set(synthetic)


def test_unknown_figure_lists_the_names():
    with pytest.raises(ValueError, match=r"figure must be one of second-moment, .*, loss-surface, got 'moment'"):
        find_plot("moment")


@pytest.mark.parametrize("name", PLOTS)
def test_missing_record_names_the_command_that_makes_it(name, tmp_path):
    with pytest.raises(ValueError, match=f"run `python -m sims {next(iter(PLOTS[name].needs))}` first"):
        gather(PLOTS[name], tmp_path)


@pytest.mark.parametrize("name", PLOTS)
def test_missing_variable_is_named_with_the_command(name, synthetic, tmp_path):
    (experiment, variables), *_ = PLOTS[name].needs.items()
    data, manifest = synthetic[experiment]()
    store.write(tmp_path / experiment / "0", data.drop_vars(variables[-1]), manifest)
    with pytest.raises(ValueError, match=f"has no {variables[-1]}; run `python -m sims {experiment}` again"):
        gather(PLOTS[name], tmp_path)


@pytest.mark.parametrize("name", PLOTS)
def test_declared_variables_suffice(name: str, out: Path):
    """A figure that reads what it does not declare would fail on an older record with a traceback."""
    plot: Plot = PLOTS[name]
    found = {
        experiment: record._replace(data=record.data[list(plot.needs[experiment])])
        for experiment, record in gather(plot, out).items()
    }
    plot.draw(found)


def test_damaged_record_is_named(record, tmp_path):
    folder = record("moments").folder
    (folder / "data.nc").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"is damaged .*; delete the folder and run again"):
        render(["second-moment"], tmp_path)
    assert not (tmp_path / "figures").exists()


@pytest.mark.slow
def test_rendering_never_imports_jax(out, tmp_path):
    (tmp_path / "r").mkdir()
    for name in ("diversity", "attack", "verify"):
        (tmp_path / "r" / name).symlink_to(out / name)
    program = (
        "import sys, pathlib, figures.registry, figures.command_line\n"
        "from figures.rendering import render\n"
        "render(['diversity'], pathlib.Path(sys.argv[1]))\n"
        "assert figures.command_line.main(['summary', '--out', sys.argv[1]]) == 0\n"
        "foreign = {'jax', 'jaxlib', 'flax', 'optax', 'defenses'} & set(sys.modules)\n"
        "seen = {'sims.records', 'sims.records.store', 'sims.intervals'}\n"
        "ours = {m for m in sys.modules if m.startswith('sims.')} - seen\n"
        "assert not foreign and not ours, (foreign, ours)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "r")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_figures_import_theory_the_record_reader_and_the_intervals_only(path):
    for line in re.findall(r"^\s*(?:from|import) .*", path.read_text(), re.M):
        assert not re.search(r"\b(jax|flax|optax|defenses)\b", line), line
        if re.search(r"\bsims\b", line):
            assert re.match(
                r"from sims\.records import store$|from sims\.(records\.store|intervals) import ", line.strip()
            ), line
