"""Which files a user's Python file is made of."""

import os

import pytest

from defenses.files.python_sources import python_sources

TREE = {
    "mine.py": "import numpy as np\nimport helper\nfrom parts.net import Net\nW = np.load('weights.npz')\n",
    "helper.py": "def late():\n    import deeper\n    return open('../other/table.csv')\n",
    "deeper.py": "from parts import table\nimport mine\n",
    "parts/__init__.py": "",
    "parts/net.py": "from . import blocks\nfrom ..unrelated import nothing\nNAME = 'blocks.txt'\n",
    "parts/blocks.py": "from .table import rows as more\n",
    "parts/table.py": "TEXT = '''not\\na file'''\n",
    "parts/blocks.txt": "7",
    "weights.npz": "arrays",
    "unused.py": "import helper\n",
    "notes.txt": "notes",
    "defenses.py": "not ours: ours comes first",
    "../other/table.csv": "1,2\n",
}
UNUSED = {"unused.py", "notes.txt", "defenses.py"}


@pytest.fixture
def folder(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "work"


def named(folder):
    return {os.path.relpath(path, folder) for path in python_sources(folder / "mine.py")}


def test_modules_beside_it_and_files_that_are_named_count(folder):
    assert named(folder) == set(TREE) - UNUSED


def test_what_is_not_imported_any_more_does_not_count(folder):
    (folder / "mine.py").write_text("from defenses.defense import Defense\nimport parts.table\nX = ''\n")
    assert named(folder) == {"mine.py", "parts/__init__.py", "parts/table.py"}


def test_a_file_in_the_working_folder_counts(folder, tmp_path, monkeypatch):
    (tmp_path / "here.npz").touch()
    (folder / "mine.py").write_text(f"A, B = 'here.npz', '{'x' * 5000}'\n")
    assert named(folder) == {"mine.py"}
    monkeypatch.chdir(tmp_path)
    assert {path.name for path in python_sources(folder / "mine.py")} == {"mine.py", "here.npz"}


def test_what_is_no_python_is_left_to_whoever_runs_it(folder):
    (folder / "helper.py").write_text("def (")
    assert named(folder) == {"mine.py", "helper.py", "weights.npz", "parts/__init__.py", "parts/net.py"} | {
        "parts/blocks.py", "parts/blocks.txt", "parts/table.py",
    }  # fmt: skip
