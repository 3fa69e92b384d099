"""`--dry-run` against the memory that a run takes, on images of 224 × 224 pixels.

Every attack on a model that takes next to none, then a network of convolutions: alone, averaged, and white-box.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sims.attacks.table import ATTACKS

MODEL = """
import jax
import jax.numpy as jnp
import numpy as np

KERNELS = np.random.default_rng(0).normal(size=(3, 3, 3, 48)).astype(np.float32)


def strided(images):
    pixels = images.reshape(len(images), -1)
    return jnp.stack([pixels[:, i::997].mean(1) for i in range(10)], 1)


def convolved(images):
    layout = ("NHWC", "HWIO", "NHWC")
    seen = jax.lax.conv_general_dilated(images, KERNELS, (1, 1), "SAME", dimension_numbers=layout)
    seen = jax.lax.conv_general_dilated(jnp.tanh(seen[..., ::16]), KERNELS, (1, 1), "SAME", dimension_numbers=layout)
    return strided(images) + 1e-6 * jnp.tanh(seen).mean((1, 2, 3))[:, None]
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


def options(pictures, model, attack, norm):
    victim = ["--model", f"{pictures / 'model.py'}:{model}", "--dataset", str(pictures / "images")]
    budget = ["--images", str(COUNT - 4), "--query-budget", "60", "--evaluations", "1"]
    threat = ["--norm", norm, "--epsilon", "0.05" if norm == "linf" else "5"]
    return ["--attacks", attack, *threat, "--defenses", "none", *victim, *budget, "--json"]


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def require_a_true_plan(folder, *arguments):
    """What `--dry-run` tells is within a factor of 1.5 of what the run takes, which leaves its record in the folder."""
    run = [sys.executable, "-m", "sims", *arguments, "--out", str(folder)]
    told = json.loads(subprocess.run([*run, "--dry-run"], check=True, capture_output=True).stdout)["megabytes"]
    watched = subprocess.run([sys.executable, "-c", PEAK, *run], check=True, capture_output=True, text=True)
    taken = int(watched.stdout) * UNIT / 1e6
    print(f"{' '.join(arguments[:5])}: told {told:.0f} MB, taken {taken:.0f} MB, {told / taken:.2f}")
    assert 1 / 1.5 < told / taken < 1.5


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "norm"), CASES)
def test_a_dry_run_tells_the_memory_of_a_run(pictures, tmp_path, attack, norm):
    require_a_true_plan(tmp_path, "attack", *options(pictures, "strided", attack, norm), "--draws", "4")


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["square", "square:average=4"])
def test_a_dry_run_knows_the_network(pictures, tmp_path, attack):
    require_a_true_plan(tmp_path, "attack", *options(pictures, "convolved", attack, "linf"), "--draws", "4")


@pytest.mark.slow
def test_a_dry_run_knows_a_gradient(pictures, tmp_path):
    require_a_true_plan(tmp_path, "white-box", *options(pictures, "convolved", "pgd:steps=3", "linf"))
