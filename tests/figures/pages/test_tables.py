"""The tables of the READMEs: each stands as the shipped records have it, and an edit is noticed and undone."""

import re
import shutil

import pytest

from figures.command_line import main
from figures.pages import tables
from tests.paths import ROOT, readmes

READMES = [path.relative_to(ROOT) for path in readmes()]


@pytest.fixture
def copies(tmp_path):
    """The READMEs, elsewhere."""
    for path in READMES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def test_every_table_stands_as_its_records_have_it(copies):
    assert tables.write(copies) == []
    shown = [name for path in READMES for _, name, _, _ in tables.MARKED.findall((ROOT / path).read_text())]
    assert sorted(shown) == sorted(tables.TABLES)


def edit_a_number(copies, name):
    """Changes the first digit of that table, and returns its README."""
    [path] = [path for path in READMES if f"<!-- table {name} -->" in (ROOT / path).read_text()]
    before, marker, rest = (copies / path).read_text().partition(f"<!-- table {name} -->\n")
    place = re.search(r"\d", rest)
    assert place is not None
    digit = str((int(place.group()) + 1) % 10)
    (copies / path).write_text(before + marker + rest[: place.start()] + digit + rest[place.end() :])
    return path


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "closing")) for name in tables.TABLES]
)
def test_a_number_that_was_edited_is_printed_anew(copies, name):
    path = edit_a_number(copies, name)
    assert tables.write(copies) == [copies / path]
    assert (copies / path).read_text() == (ROOT / path).read_text()


def test_a_number_edited_in_every_table_is_printed_anew(copies):
    edited = {edit_a_number(copies, name) for name in tables.TABLES}
    assert set(tables.write(copies)) == {copies / path for path in edited}
    assert all((copies / path).read_text() == (ROOT / path).read_text() for path in edited)


def test_a_table_that_is_none_is_named(copies):
    (copies / "README.md").write_text("<!-- table prices -->\n<!-- end -->\n")
    with pytest.raises(ValueError, match=r"table must be one of closing, claims, .* got 'prices'"):
        tables.write(copies)


def test_without_a_clone_there_is_nothing_to_print(tmp_path):
    with pytest.raises(ValueError, match="has none"):
        tables.write(tmp_path)


def test_the_command_says_what_it_changed(monkeypatch, copies, capsys):
    monkeypatch.setattr(tables, "write", lambda: [])
    assert main(["tables"]) == 0
    assert capsys.readouterr().out == "every table stands as its records have it\n"
    monkeypatch.setattr(tables, "write", lambda: [copies / "README.md"])
    assert main(["tables"]) == 0
    assert capsys.readouterr().out == f"{copies / 'README.md'}\n"
