"""A results folder for the tests that run experiments."""

import shutil
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
        patch.setattr("sims.command_line.shutil", SimpleNamespace(rmtree=remember))
        yield out
    assert [*refused(out), *refused(models), *removed] == []
