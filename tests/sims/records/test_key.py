"""Keys: one question to one code in one environment has one, and all others have others."""

import dataclasses
from pathlib import Path

import pytest

from sims.records import key
from sims.records.key import key_of, settings_of


@dataclasses.dataclass(frozen=True)
class Config:
    budget: int = 100
    radius: float = 0.1


def test_the_key_depends_on_the_question_and_on_the_code():
    ask = [("attack", Config()), ("attack", Config(budget=101)), ("attack", Config(radius=0.2)), ("moments", Config())]
    keys = [key_of([name, settings_of(config)], "code") for name, config in ask]
    assert len({*keys, key_of(["attack", settings_of(Config())], "other code")}) == 5
    assert keys[0] == key_of(["attack", settings_of(Config(100, 0.1))], "code")


def test_other_data_or_weights_are_another_question():
    one, two = ({"weights": {"sha256": digest}} for digest in "ab")
    assert key_of(["attack", one], "") != key_of(["attack", two], "")


@pytest.mark.parametrize("package", ["jax", "flax"])
def test_another_version_is_another_key(monkeypatch, package):
    before = key_of("question", "code")
    monkeypatch.setattr(key, "version", lambda name: "0" if name == package else "1")
    other = key_of("question", "code")
    monkeypatch.setattr(key, "version", lambda name: "1")
    assert len({before, other, key_of("question", "code")}) == 3


def test_a_file_counts_by_its_content(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("weights")
    two.write_text("weights")
    assert key_of([one], "") == key_of([two], "") != key_of([Path(str(one))], "other")
    before = key_of([one], "")
    one.write_text("weight")
    assert key_of([one], "") != before
