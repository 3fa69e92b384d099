"""Names of files: the fixture `results` scans what all experiments write; here, that it would notice."""

from defenses.files.folders import Folders
from sims.experiments.experiment import Context
from tests.sims.conftest import refused


def test_a_scan_notices_names_that_windows_refuses(tmp_path):
    (tmp_path / "attack").mkdir()
    for name in ("nes:smoothing_radius=0.1-none.npz", "mean-of+jpeg.npz", "what?", "0123.npz"):
        (tmp_path / "attack" / name).touch()
    assert sorted(refused(tmp_path)) == ["nes:smoothing_radius=0.1-none.npz", "what?"]


def test_states_have_names_of_their_own_that_windows_takes(tmp_path):
    context = Context(Folders(), tmp_path / "x.checkpoints", tmp_path / "cells", print)
    parts = [("nes:smoothing_radius=0.1", "none"), ("nes", "none"), ("nes", "a/b.py:C"), ("nesn", "one")]
    states = [context.state_of(*names) for names in parts]
    assert len(set(states)) == len(parts)
    assert all(state.parent == tmp_path / "x.checkpoints" and state.name.isalnum() for state in states)
