"""The code behind a key: what runs counts, wherever it is imported from; words and the rows of tables do not."""

import pytest

from sims.records import code
from sims.records.code import code_hash

FILES = {
    "theory/catalogue.py": "from importlib import import_module\nfound = import_module('theory.statements.one')\n",
    "theory/statements/one.py": "x = 1\n",
    "defenses/noise.py": (
        '"""Noise."""\n\nimport math\n\n\ndef noise():\n    """Loud."""\n    return math.pi  # enough\n'
    ),
    "sims/attacks/square.py": "from sims.attacks.base import step\n\n\ndef square():\n    return step()\n",
    "sims/attacks/nes.py": "def nes():\n    return 2\n",
    "sims/attacks/base.py": "def step():\n    return 1\n",
    "sims/attacks/table.py": (
        "from sims.attacks import nes, square\nfrom sims.reading import read\n\n"
        "ATTACKS = {'nes': nes.nes, 'square': square.square}\n\n\ndef chosen(name):\n    return read(ATTACKS, name)\n"
    ),
    "sims/reading.py": "def read(table, name):\n    return table[name]\n",
    "sims/engine.py": "def run():\n    from defenses.noise import noise\n\n    return noise()\n",
    "sims/cell.py": "import sims.engine\nfrom sims.attacks.table import chosen\n\nANSWER = sims.engine.run, chosen\n",
}
SQUARE = ("sims.cell", "sims.attacks.square")  # the modules of a cell, and of what was chosen for it


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A small project in place of ours."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").write_text("")
        path.write_text(text)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    return tmp_path


def changed(house, name, old, new, modules=SQUARE):
    """Whether the hash is another after that change."""
    before = code_hash(modules)
    text = (house / name).read_text()
    assert old in text
    (house / name).write_text(text.replace(old, new))
    code._module.cache_clear()
    return code_hash(modules) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("sims/cell.py", "ANSWER =", "ANSWERS ="),
        ("sims/attacks/square.py", "step()", "-step()"),
        ("sims/attacks/base.py", "1", "2"),
        ("sims/engine.py", "noise()", "-noise()"),
        ("defenses/noise.py", "math.pi", "math.e"),
        ("sims/attacks/table.py", "return read(ATTACKS, name)", "return read(ATTACKS, name.lower())"),
        ("sims/reading.py", "table[name]", "table.get(name)"),
        ("sims/__init__.py", "", "import os\nos.environ['SEED'] = '1'\n"),
    ],
    ids=str,
)
def test_what_runs_counts(house, name, old, new):
    """The module itself, what it imports, in functions too, what that imports, and a table's functions."""
    assert changed(house, name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("defenses/noise.py", '"""Noise."""', '"""Noise, of any kind."""'),
        ("defenses/noise.py", '"""Loud."""', '"""Quiet."""'),
        ("defenses/noise.py", "# enough", "# for now"),
        ("defenses/noise.py", "import math\n\n\n", "import math\n\n"),
        ("sims/attacks/nes.py", "2", "3"),
        ("sims/attacks/table.py", "import nes, square", "import base, nes, square"),
        ("sims/attacks/table.py", "'nes': nes.nes, ", "'nes': nes.nes, 'base': base.step, "),
        ("theory/statements/one.py", "1", "2"),
    ],
    ids=str,
)
def test_words_rows_and_other_attacks_do_not(house, name, old, new):
    assert not changed(house, name, old, new)


def test_a_row_that_was_chosen_counts(house):
    assert changed(house, "sims/attacks/nes.py", "2", "3", ("sims.cell", "sims.attacks.nes"))


@pytest.mark.parametrize("change", ["edited", "added"])
def test_a_module_that_imports_a_folder_by_name_has_all_of_it(house, change):
    before = code_hash(["theory.catalogue"])
    (house / "theory/statements" / ("one.py" if change == "edited" else "two.py")).write_text("x = 2\n")
    code._module.cache_clear()
    assert code_hash(["theory.catalogue"]) != before


def test_the_order_of_the_modules_does_not_count(house):
    assert code_hash(SQUARE) == code_hash(SQUARE[::-1]) != code_hash(SQUARE[:1])


def test_tables_and_rooms_are_there():
    """Each name stands for rows, or for a folder, of this project."""
    for name, tables in code.TABLES.items():
        text = code._file(code.ROOT, name).read_text()
        assert all(f"\n{table}: dict" in text or f"\n{table} = " in text for table in tables)
    for name, folder in code.ROOMS.items():
        assert "import_module(f" in code._file(code.ROOT, name).read_text()
        assert f'"{folder}.{{' in code._file(code.ROOT, name).read_text().replace('f"', '"')


def test_every_import_by_a_name_that_is_put_together_is_known():
    """Else what it imports would be in no key."""
    there = {
        ".".join(path.relative_to(code.ROOT).with_suffix("").parts)
        for package in code.PACKAGES
        for path in (code.ROOT / package).rglob("*.py")
        if "import_module(" in path.read_text()
    }
    by_the_command_line = {"defenses.commands.interruption", "sims.experiments.experiment"}
    assert there == {*code.ROOMS, *by_the_command_line}
