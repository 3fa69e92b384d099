"""What the key of a record covers: everything that a run reads."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from defenses import zoo
from defenses.data import sources
from defenses.files.folders import Folders
from defenses.purifiers.table import Chain, defense_choices
from sims.records.key import key_of, settings_of
from sims.victims.victim import VictimOptions, victim_inputs

MINE = "import helper\n\n\ndef MODEL(images):\n    return images[:, 0, 0]\n\n\ndef DEFENSE(model):\n    return model\n"


@dataclass(frozen=True)
class Config:
    victim: VictimOptions
    defenses: tuple[Chain, ...] = ()
    seed: int = 0


@pytest.fixture
def folder(tmp_path):
    """Two classes of two pictures each, and a model and a defence of one's own."""
    for number, name in enumerate(("cat/a", "cat/b", "dog/a", "dog/b")):
        path = tmp_path / f"pets/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "helper.py").write_text("SCALE = 1\n")
    return tmp_path


def key(folder, model="cnn", defenses=("none",), dataset="pets", classes=None):
    """That of a run, whatever the code."""
    dataset = str(folder / dataset) if dataset == "pets" else dataset
    options = VictimOptions((zoo.read_model(model.format(folder)),), dataset, classes=classes)
    config = Config(options, defense_choices(*(text.format(folder) for text in defenses)))
    inputs = victim_inputs(config, Folders(folder / "models", folder))
    return key_of([settings_of(config), inputs], "")


def repaint(folder):
    """One pixel of one picture, the last one."""
    with Image.open(folder / "pets/dog/b.png") as picture:
        picture.putpixel((3, 3), (0, 0, 1))
        picture.save(folder / "pets/dog/b.png")


CHANGES = {
    "a pixel": repaint,
    "a name": lambda folder: (folder / "pets/dog/b.png").rename(folder / "pets/dog/c.png"),
    "a picture more": lambda folder: Image.new("RGB", (4, 4)).save(folder / "pets/dog/c.png"),
    "a label": lambda folder: (folder / "pets/cat/b.png").rename(folder / "pets/dog/bb.png"),
    "the file of a model": lambda folder: (folder / "mine.py").write_text(MINE + "\n"),
    "what it imports": lambda folder: (folder / "helper.py").write_text("SCALE = 2\n"),
}


@pytest.mark.parametrize(("model", "defense"), [("{}/mine.py:MODEL", "none"), ("cnn", "jpeg+{}/mine.py:DEFENSE")])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_a_run_reads_changes_the_key(folder, change, model, defense):
    before = key(folder, model, (defense,))
    assert key(folder, model, (defense,)) == before
    change(folder)
    assert key(folder, model, (defense,)) != before


def test_the_file_of_a_pool_changes_the_key(folder):
    """Its name alone does not say what is in it."""
    (folder / "pool.safetensors").write_bytes(b"some members")
    for name in ("puridefense", "disco"):
        before = key(folder, defenses=(name + ":pool={}/pool.safetensors",))
        (folder / "pool.safetensors").write_bytes(b"members of " + name.encode())
        assert key(folder, defenses=(name + ":pool={}/pool.safetensors",)) != before


def test_what_a_run_does_not_read_leaves_the_key(folder):
    before = key(folder)
    CHANGES["the file of a model"](folder)
    (folder / "pets/README.txt").touch()
    assert key(folder) == before


def test_pixels_of_an_array_count_too(folder, monkeypatch):
    before = key(folder, dataset="digits")
    digits = sources.load("digits", folder)
    images = digits.test.images[:].copy()
    images[-1, 7, 7, 0] += np.float32(1 / 16)
    changed = digits._replace(test=digits.test._replace(images=images))
    monkeypatch.setattr(zoo, "load", lambda *_: changed)
    assert key(folder, dataset="digits") != before


@pytest.mark.parametrize(
    "spellings",
    [("gaussian-noise", "gaussian-noise:std=0.05"), ("none+mean-of:runs=10+jpeg", "mean-of+jpeg:quality=75")],
)
def test_one_defence_in_two_spellings_is_one_record(folder, spellings):
    one, other = (key(folder, defenses=(text,)) for text in spellings)
    assert one == other
    assert key(folder, defenses=("gaussian-noise:std=0.051",)) != one
