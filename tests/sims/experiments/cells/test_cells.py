"""Cells: an experiment that asks for more computes what is new, and an image does not depend on its part."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from defenses.files.folders import Folders
from defenses.model import Model
from defenses.purifiers.table import read_defense
from defenses.zoo import read_model
from sims.attacks.table import read_attack
from sims.experiments.attack import cell
from sims.experiments.attack.setting import Config, Setting
from sims.experiments.cells import parts
from sims.experiments.cells.parts import parts_of
from sims.experiments.experiment import Context
from sims.measurements.local_geometry import measure
from sims.records import code
from sims.victims.victim import Victim
from tests.paths import ROOT
from tests.sims.experiments.cells.cell_runs import cells_of, run, same


@pytest.fixture
def out(new_out):
    return new_out("results")


def test_adding_an_attack_or_a_defence_computes_that_alone(out, monkeypatch):
    """Rows are counted: the run's record has those of all cells, and only the new ones were asked for."""
    asked = []
    attack = cell.run_attack

    def counted(*arguments, **options):
        result = attack(*arguments, **options)
        asked.append((arguments[1].name.split(",")[0], result.evaluated))
        return result

    monkeypatch.setattr(cell, "run_attack", counted)
    first = run(out, "--attacks", "square", "--defenses", "none")
    before = cells_of(out)
    assert [name for name, _ in asked] == ["square"]
    asked.clear()
    more = run(out, "--attacks", "square", "null", "--defenses", "none")
    assert [name for name, _ in asked] == ["null"]
    assert more.manifest["queries"] == first.manifest["queries"] + sum(rows for _, rows in asked)
    assert more.data.sel(attack=["square"]).queries.equals(first.data.queries)
    asked.clear()
    run(out, "--attacks", "null", "square", "--defenses", "mean-filter", "none")
    assert [name for name, _ in asked] == ["null", "square"]
    assert before.items() <= cells_of(out).items()


def square_on_a_purified_cnn():
    """The cell, of which nothing is loaded, trained or computed."""
    model, images, places = Model("m", (), lambda params, keys, images: images, 2), np.zeros((3, 2, 2, 1)), np.arange(3)
    chosen = {"random-purifier": (read_model("cnn"), read_defense("random-purifier"))}
    victim = Victim({"random-purifier": model}, {}, images, places, places, chosen)
    setting = Setting(Config(), victim, places, places, "pictures", places)
    context = Context(Folders(), Path(), Path(), lambda *_: None)
    return cell.attack_cell(setting, context, "random-purifier", read_attack("square"))


def test_an_edit_elsewhere_recomputes_nothing_and_one_of_the_engine_everything(tmp_path, monkeypatch):
    """On a copy of this house, of which a cell of square on a purified cnn is made."""
    for package in code.PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    monkeypatch.setattr(code, "ROOT", tmp_path)
    modules = square_on_a_purified_cnn().modules

    def hashed():
        code._module.cache_clear()
        return code.code_hash(modules)

    def edit(name, old, new):
        text = (tmp_path / name).read_text()
        assert old in text, (name, old)
        (tmp_path / name).write_text(text.replace(old, new, 1))

    before = hashed()
    (tmp_path / "sims/attacks/score/fresh.py").write_text("METHOD = None\n")
    edit("sims/attacks/table.py", "    bandits,\n", "    bandits,\n    fresh,\n")
    edit(
        "sims/attacks/table.py", '    "null": null.METHOD,\n', '    "null": null.METHOD,\n    "fresh": fresh.METHOD,\n'
    )
    (tmp_path / "defenses/purifiers/fresh.py").write_text("METHOD = None\n")
    edit("defenses/purifiers/table.py", "import averaging, feature_noise\n", "import averaging, feature_noise, fresh\n")
    edit("defenses/purifiers/table.py", '    "none": identity', '    "fresh": fresh.METHOD,\n    "none": identity')
    edit("sims/attacks/score/nes.py", "    ", "    import math\n    ")  # of another attack
    edit("sims/engine/slots.py", '"""The engine\'s inner loop', '"""The inner loop of the engine')
    edit("sims/experiments/attack/report.py", "COLUMNS = (", "COLUMNS = (  # in this order")
    assert hashed() == before
    edit("sims/engine/slots.py", "NARROW = 4", "NARROW = 5")
    assert hashed() != before
    after = hashed()
    edit("sims/attacks/score/square.py", "HALVINGS = (10,", "HALVINGS = (20,")
    assert hashed() != after


FURTHER = [pytest.param(name, marks=pytest.mark.slow) for name in ("nes:num_directions=3", "null:average=2")]


@pytest.mark.parametrize("attack", ["square", *FURTHER])
def test_an_image_does_not_depend_on_its_part(new_out, monkeypatch, attack):
    """Under a random defence; with wide steps and averaged answers too."""
    asked = ["--attacks", attack, "--defenses", "gaussian-noise:std=0.2"]
    whole = run(new_out("whole"), *asked)
    monkeypatch.setattr(parts, "NUMBERS", 300)  # one tile of 4 digits
    assert len(parts_of(12, (8, 8, 1), 4)) == 3
    same(run(new_out("parts"), *asked), whole)


@pytest.mark.parametrize(("images", "tile"), [(1, 16), (15, 16), (16, 16), (17, 16), (1000, 16), (1000, 7), (64, 64)])
@pytest.mark.parametrize("shape", [(8, 8, 1), (224, 224, 3), (375, 500, 3), (3000, 3000, 3)])
def test_parts_are_whole_tiles_and_all_images(images, tile, shape):
    slices = parts_of(images, shape, tile)
    assert [place for part in slices for place in range(part.start, part.stop)] == list(range(images))
    assert all(part.start % tile == 0 for part in slices)
    assert min(part.stop - part.start for part in slices) >= min(tile, images)
    most = max(part.stop - part.start for part in slices) * np.prod(shape)
    assert most <= max(parts.NUMBERS, 2 * tile * np.prod(shape)) + tile * np.prod(shape)


@pytest.mark.parametrize("has_gradient", [True, False])
def test_v_does_not_depend_on_the_part(has_gradient):
    """Of a random model, with a gradient and without one."""

    def scores(params, keys, images):
        noise = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
        return images.reshape(len(images), -1)[:, :2] + noise

    model = Model("m", (), scores, 2, randomized=True, has_gradient=has_gradient)
    images, labels, key = np.random.default_rng(0).random((4, 3, 3, 1), np.float32), np.zeros(4, int), jax.random.key(0)
    whole, part = measure(key, model, images, labels, 8), measure(key, model, images[2:], labels[2:], 8, first=2)
    np.testing.assert_array_equal(part.variance, whole.variance[2:])
    assert len(set(whole.variance)) == 4
