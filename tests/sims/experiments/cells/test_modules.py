"""The modules behind a choice: that of every row of every table, and of nothing else."""

import pytest

from defenses import zoo
from defenses.classifiers.architectures import ARCHITECTURES
from defenses.purifiers.table import DEFENSES, read_defense
from sims.attacks.table import ATTACKS, attack_choices, read_attack
from sims.experiments.attack.setting import Config
from sims.experiments.cells.modules import chosen_modules
from sims.experiments.experiment import find_experiment
from sims.records.code import code_hash
from sims.white_box.table import read_white_box

OF = {
    "nes": (read_attack, {"sims.attacks.score.nes"}),
    "square:reevaluate=true,average=2": (read_attack, {"sims.attacks.score.square"}),
    "hop-skip-jump": (read_attack, {"sims.attacks.decision.hop_skip_jump"}),
    "pgd:steps=3": (read_white_box, {"sims.white_box.pgd"}),
    "ensemble": (read_white_box, {"sims.white_box.apgd", "sims.attacks.score.square"}),
    "random-purifier+jpeg": (read_defense, {"defenses.purifiers.pools.pool", "defenses.purifiers.transforms.jpeg"}),
    "cnn": (zoo.read_model, {"defenses.classifiers.cnn"}),
    "resnet56": (zoo.read_model, {"defenses.classifiers.resnet_cifar"}),
    "resnet18-cifar": (zoo.read_model, {"defenses.classifiers.resnet_imagenet"}),
    "vit-tiny-16": (zoo.read_model, {"defenses.classifiers.vit"}),
}


@pytest.mark.parametrize(("text", "read", "modules"), [(text, *rest) for text, rest in OF.items()], ids=OF)
def test_a_choice_has_those_of_its_row(text, read, modules):
    choice = read(text)
    found = set(chosen_modules(choice.parts if hasattr(choice, "parts") else choice))
    assert modules <= found
    assert all(name.startswith(("defenses.purifiers.method", "sims.attacks.score.descent")) for name in found - modules)


TABLES = ((read_attack, ATTACKS), (read_defense, DEFENSES), (zoo.read_model, [*ARCHITECTURES, *zoo.SMALL]))


@pytest.mark.parametrize(("read", "name"), [(read, name) for read, table in TABLES for name in table])
def test_every_row_of_every_table_has_code(read, name):
    found = list(chosen_modules(read(name)))
    assert found
    code_hash(found)  # FileNotFoundError for a module that is none


MINE = """
from dataclasses import dataclass

from helper_in_mine import purify


@dataclass(frozen=True)
class Settings:
    strength: float = 0.1

    def build(self):
        return purify
"""


def test_a_users_file_has_what_it_imports_of_ours(tmp_path, monkeypatch):
    """Itself counts by its bytes; so do its helpers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "helper_in_mine.py").write_text(
        "from defenses.purifiers.transforms.jpeg import METHOD\n\npurify = METHOD.build\n"
    )
    found = list(chosen_modules(read_defense("mine.py:Settings:strength=0.2")))
    assert "defenses.purifiers.transforms.jpeg" in found
    code_hash(found)


def test_an_experiment_has_those_of_the_attacks_it_names_itself():
    named = {
        "masking": {"sims.white_box.pgd", "sims.attacks.score.square"},
        "compare": {"sims.attacks.score.square", "sims.attacks.decision.hop_skip_jump"},
        "compare-white-box": {"sims.white_box.pgd", "sims.white_box.apgd"},
    }
    for name, words in named.items():
        experiment = find_experiment(name)
        assert words <= set(chosen_modules(experiment.choices(experiment.config())))


def test_a_configuration_has_those_of_all_its_choices():
    config = Config(attacks=attack_choices("rays", "square"))
    found = set(chosen_modules(config))
    assert {"sims.attacks.decision.rays", "sims.attacks.score.square", "defenses.classifiers.cnn"} <= found
    assert "sims.attacks.score.nes" not in found
