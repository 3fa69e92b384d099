"""`--dry-run` against the memory that a run takes, for every attack on images of 224 × 224 pixels."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sims.attacks.table import ATTACKS

MODEL = """
import jax.numpy as jnp


def strided(images):
    pixels = images.reshape(len(images), -1)
    return jnp.stack([pixels[:, i::997].mean(1) for i in range(10)], 1)
"""
COUNT, SIDE = 64, 224
CASES = [(name, row.norms[0]) for name, row in ATTACKS.items()] + [("square", "l2"), ("hop-skip-jump", "linf")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of class folders with noise, every picture in the class that the model gives it."""
    folder, numbers = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    (folder / "model.py").write_text(MODEL)
    for label in range(10):
        (folder / "images" / str(label)).mkdir(parents=True)
    for number in range(COUNT):
        pixels = numbers.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        label = np.argmax([(pixels / 255).reshape(-1)[i::997].mean() for i in range(10)])
        Image.fromarray(pixels).save(folder / "images" / str(label) / f"{number}.png")
    return folder


def command(pictures, attack, norm):
    victim = ["--model", f"{pictures / 'model.py'}:strided", "--dataset", str(pictures / "images")]
    budget = ["--images", str(COUNT - 4), "--query-budget", "60", "--draws", "4", "--evaluations", "1"]
    threat = ["--norm", norm, "--epsilon", "0.05" if norm == "linf" else "5"]
    run = ["--attacks", attack, *threat, "--defenses", "none", *victim, *budget, "--json"]
    return [sys.executable, "-m", "sims", "attack", *run, "--out", str(pictures / f"{attack}-{norm}")]


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "norm"), CASES)
def test_a_dry_run_tells_the_memory_of_a_run(pictures, attack, norm):
    arguments = command(pictures, attack, norm)
    told = json.loads(subprocess.run([*arguments, "--dry-run"], check=True, capture_output=True).stdout)["megabytes"]
    watched = subprocess.run([sys.executable, "-c", PEAK, *arguments], check=True, capture_output=True, text=True)
    taken = int(watched.stdout) * UNIT / 1e6
    print(f"{attack} {norm}: told {told:.0f} MB, taken {taken:.0f} MB, {told / taken:.2f}")
    assert 1 / 1.5 < told / taken < 1.5
