"""One choice, however it is spelt."""

import pytest

from defenses import zoo
from defenses.purifiers.table import read_defense

CHAINS = {
    "gaussian-noise": ("gaussian-noise", "gaussian-noise:", "gaussian-noise:std=0.05", "gaussian-noise:std=5e-2"),
    "gaussian-noise:std=0.02": ("gaussian-noise:std=0.02", "gaussian-noise:std=.020"),
    "mean-of+jpeg:quality=50": ("mean-of:runs=10,of=logits+jpeg:quality=50", "mean-of:of=logits+jpeg:quality=050"),
    "patchwise-purifier:members=4,patch_size=2": (
        "patchwise-purifier:patch_size=2,members=4",
        "none+patchwise-purifier:members=4,patch_size=2",
    ),
    "none": ("none", "none+none"),
}


@pytest.mark.parametrize(("text", "spellings"), CHAINS.items())
def test_a_chain_has_one_text(text, spellings):
    assert [str(read_defense(one)) for one in spellings] == [text] * len(spellings)
    assert len({read_defense(one) for one in (text, *spellings)}) == 1


def test_the_order_of_a_chain_and_the_settings_tell_chains_apart():
    texts = ("mean-filter+jpeg", "jpeg+mean-filter", "jpeg+jpeg", "jpeg", "jpeg:quality=74", "none")
    assert len({read_defense(text) for text in texts}) == len(texts)


MINE = """
from dataclasses import dataclass


@dataclass
class NOISE:
    std: float = 0.1

    def build(self):
        return lambda model: model


def MODEL(images):
    return images
"""


def test_a_file_of_ones_own_has_one_text_from_wherever_it_is_named(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    (here / "mine.py").write_text(MINE)
    monkeypatch.chdir(here)
    places = ("", "./", "../here/", f"{here}/")
    assert {str(read_defense(f"{place}mine.py:NOISE:std=0.1")) for place in places} == {"mine.py:NOISE"}
    assert {str(zoo.read_model(f"{place}mine.py:MODEL")) for place in places} == {"mine.py:MODEL"}
    monkeypatch.chdir(tmp_path)
    assert str(read_defense("here/mine.py:NOISE")) == "here/mine.py:NOISE"
    monkeypatch.chdir(elsewhere)
    assert str(read_defense(f"{here}/mine.py:NOISE")) == f"{here}/mine.py:NOISE"
