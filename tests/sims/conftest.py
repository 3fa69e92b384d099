"""A results folder for the tests that run experiments."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

REFUSED = set('<>:"/\\|?*')  # by Windows, in the name of a file or a folder


def refused(folder):
    """The names in it, at any depth, that Windows refuses."""
    return [path.name for path in folder.rglob("*") if REFUSED & set(path.name)]


@pytest.fixture(scope="session")
def results(tmp_path_factory, models):
    """A results folder whose models are trained already.

    After the last test all that experiments left there, and the checkpoints that they removed, must have names that
    every system takes.
    """
    out, removed = tmp_path_factory.mktemp("results"), []
    (out / "models").symlink_to(models)

    def remember(checkpoints, **options):
        removed.extend(refused(checkpoints))
        shutil.rmtree(checkpoints, **options)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("command_line", "experiments.cells.cell", "experiments.cells.parts"):
            patch.setattr(f"sims.{module}.shutil", SimpleNamespace(rmtree=remember))
        yield out
    assert [*refused(out), *refused(models), *removed] == []


@pytest.fixture
def new_out(tmp_path, models):
    """Makes folders for results whose networks are trained already."""

    def make(name: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "models").symlink_to(models)
        return tmp_path / name

    return make
