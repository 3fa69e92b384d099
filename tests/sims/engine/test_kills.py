"""`kill -9` at random moments of a run of 256 images: the resumed run ends like one that was never killed."""

import multiprocessing
import random
import time

import jax
import numpy as np
import pytest

from defenses.model import defended
from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, read_attack
from sims.engine.run import Schedule, run_attack
from sims.victims.oracle import oracle_of
from tests.sims.small_victims import images, labels_of, linear_classifier, noise

COUNT, BUDGET, KILLS = 256, 60, 10
PAUSE = 0.05  # seconds between chunks, so that a kill finds the run under way


def attack_all(path=None, pause=0.0):
    classifier, rows = linear_classifier(), images(COUNT)
    return run_attack(
        jax.random.key(3),
        build_attack(read_attack("square:initial_fraction=0.5"), Threat("linf", 0.05, BUDGET)),
        oracle_of(defended(classifier, noise(0.02)), "loss"),
        rows,
        labels_of(classifier, rows),
        np.arange(COUNT),
        Schedule(BUDGET, 16, 8, chunk=2),
        path,
        lambda finished, rows: time.sleep(pause),
    )


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    path, rng, spawn, under_way = tmp_path / "state.npz", random.Random(0), multiprocessing.get_context("spawn"), 0
    for _ in range(KILLS):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = spawn.Process(target=attack_all, args=(path, PAUSE))
        process.start()
        deadline = time.monotonic() + 120
        while process.is_alive() and (not path.exists() or path.stat().st_mtime_ns == before):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5))
        under_way += process.is_alive()
        process.kill()
        process.join()
    assert under_way == KILLS
    resumed, whole = attack_all(path), attack_all()
    for field in ("images", "queries", "status", "trace"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(whole, field))
    assert (resumed.evaluated, resumed.padded) == (whole.evaluated, whole.padded)
