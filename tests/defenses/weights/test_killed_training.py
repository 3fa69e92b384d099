"""A training that `kill -9` ended goes on and ends with the bits of an uninterrupted one, in processes of their own."""

import signal
import subprocess
import sys
import time

import pytest

from tests.defenses.weights.killed_training import KINDS
from tests.paths import ROOT

PATIENCE = 240  # seconds


def command(kind, folder):
    return [sys.executable, "-m", "tests.defenses.weights.killed_training", kind, str(folder)]


def weights(folder):
    (file,) = folder.glob("*.safetensors")
    return file.read_bytes()


def rounds(folder):
    """Of the state that is kept whole."""
    return [int(one.name) for one in folder.glob("*.training/*") if one.name.isdigit()]


def killed(kind, folder, after):
    """Starts it and kills it once that many rounds are kept; how many then are."""
    process = subprocess.Popen(command(kind, folder), cwd=ROOT, stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while max(rounds(folder), default=0) < after:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return max(rounds(folder))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_twice_it_ends_with_the_same_bits(kind, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    subprocess.run(command(kind, whole), cwd=ROOT, check=True, capture_output=True)
    first = killed(kind, resumed, 1)
    assert first < killed(kind, resumed, first + 1) < 6
    assert not list(resumed.glob("*.safetensors"))
    subprocess.run(command(kind, resumed), cwd=ROOT, check=True, capture_output=True)
    assert weights(resumed) == weights(whole)
    assert not list(resumed.glob("*.training"))
