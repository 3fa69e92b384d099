"""Cells and processes: two at once, ten kills, and the memory of one."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from sims.records import store
from tests.paths import ROOT
from tests.sims.experiments.cells.cell_runs import CHOSEN, cells_of, run, same


def started(out, *arguments):
    """The run in a process of its own, which says what it has to say in a file."""
    words = [sys.executable, "-m", "sims", "attack", *CHOSEN, *arguments, "--out", str(out)]
    with (out / "said.txt").open("w") as said:
        return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said)


def wait_for(there, process):
    """Until that is so, of a process that is still at work."""
    while not there():
        assert process.poll() is None
        time.sleep(0.005)


def states(out):
    rows = json.loads(
        subprocess.check_output([sys.executable, "-m", "sims", "status", "--out", out, "--json"], cwd=ROOT)
    )
    return {(row["record"], row["cell"]): row["state"] for row in rows}


@pytest.mark.slow
def test_a_second_process_is_refused_in_one_line_and_damages_nothing(new_out):
    out, attacks = new_out("both"), ["--attacks", "square", "null"]
    first = started(out, *attacks)
    wait_for(lambda: list(out.glob("attack/cells/*.lock")), first)
    first.send_signal(signal.SIGSTOP)  # while the others start, it would be done
    [(record, _)] = [place for place, state in states(out).items() if state == "running" and not place[1]]
    assert "missing" in states(out).values()  # cells that come later
    second = started(out, *attacks)
    assert second.wait() == 2
    said = (out / "said.txt").read_text()
    assert said.splitlines()[-1].startswith("error: out must be a folder whose record nobody else computes")
    assert "Traceback" not in said
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert set(states(out).values()) == {"done"}
    assert (out / "attack" / record).is_dir()
    same(store.latest(out, "attack"), run(new_out("alone"), *attacks))


@pytest.mark.slow
def test_ten_kills_across_cells_lose_nothing(new_out):
    """`kill -9` at random moments after a new state or a new cell is there; what was whole before is whole after."""
    out, rng = new_out("killed"), random.Random(0)
    attacks = ["--attacks", "square", "nes:num_directions=3", "simba", "null", "--query-budget", "4000"]

    def progress():
        return {path: path.stat().st_mtime_ns for path in out.glob("attack/cells/**/*.n[cp]*")}

    for _ in range(10):
        finished, before = cells_of(out), progress()
        process = started(out, *attacks)
        wait_for(lambda before=before: progress() != before, process)
        time.sleep(rng.uniform(0, 1))
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert finished.items() <= cells_of(out).items()
    assert {"missing", "done"} <= set(states(out).values())
    same(run(out, *attacks), run(new_out("whole"), *attacks))
    assert not [path.name for path in (out / "attack" / "cells").glob("*.checkpoints")]


MEMORY = """
import resource, sys
from sims.command_line import main

status = main(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
STRIDED = """
import jax.numpy as jnp

def strided(images):
    pixels = images.reshape(len(images), -1)
    return jnp.stack([pixels[:, i::997].mean(1) for i in range(4)], 1)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_cells(tmp_path):
    """12 cells of 106 images of 224 × 224: 760 MB of final images, of which 32 MB are in memory at a time."""
    rng = np.random.default_rng(0)
    (tmp_path / "model.py").write_text(STRIDED)
    for i in range(106):
        pixels = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
        means = [(pixels / 255).reshape(-1)[start::997].mean() for start in range(4)]
        folder = tmp_path / "pictures" / str(np.argmax(means))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.png", compress_level=0)
    noises = [f"gaussian-noise:std=0.0{number}" for number in range(2, 7)]
    chosen = ["--attacks", "square", "null", "--defenses", "none", *noises, "--epsilon", "0.03", "--images", "106"]
    victim = ["--model", f"{tmp_path / 'model.py'}:strided", "--dataset", str(tmp_path / "pictures")]
    cost = ["--query-budget", "10", "--draws", "2", "--evaluations", "2", "--out", str(tmp_path / "out")]
    words = [sys.executable, "-c", MEMORY, "attack", *victim, *chosen, *cost]
    status, megabytes = map(int, subprocess.check_output(words, cwd=ROOT, text=True).split()[-2:])
    assert status == 0
    assert megabytes < 1950
