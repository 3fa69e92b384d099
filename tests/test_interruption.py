"""Control-C at any moment of any command: one line that says how to go on, exit status 130, and nothing lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sims.command_line import main
from sims.records import store
from tests.paths import ROOT

STARTS_AGAIN = "interrupted; the same command starts again\n"
GOES_ON = "interrupted; the same command goes on where it stopped\n"
ATTACK = [
    "attack",
    "--images",
    "200",
    "--attacks",
    "square",
    "--defenses",
    "none",
    "gaussian-noise",
    "--epsilon",
    "0.001",
]
ATTACK += ["--query-budget", "400", "--draws", "2", "--rows", "16", "--tile", "8"]

DEFAULT = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
HEARD = [sys.executable, "-c", DEFAULT]


def interrupted(command: list[str], moment: Callable[[], object], patience: float = 120) -> tuple[int, str, str]:
    """Status, output and complaint of Python with these arguments, which gets SIGINT at that moment.

    It compiles as users do, without the tests' cache, of which XLA speaks on stderr. It hears the signal even where the
    tests run in the background, whose jobs inherit that it is ignored.
    """
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*HEARD, sys.executable, *command], cwd=ROOT, env=settings, **pipes) as process:
        deadline = time.monotonic() + patience
        while not moment() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        begun = time.monotonic()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=patience)
    assert time.monotonic() - begun < 5
    return process.returncode, out, err


def after(seconds: float) -> Callable[[], object]:
    begun = time.monotonic()
    return lambda: time.monotonic() - begun > seconds


def never() -> bool:
    """The command sends the signal to itself."""
    return False


def there(folder: Path, pattern: str) -> Callable[[], object]:
    return lambda: list(folder.glob(pattern))


AT_AN_IMPORT = """
import os, runpy, signal, sys

class Finger:
    def find_spec(self, name, *rest):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module, package = sys.argv.pop(1), sys.argv.pop(1)
sys.meta_path.insert(0, Finger())
runpy.run_module(package, run_name="__main__", alter_sys=True)
"""
IMPORTING = {
    "jax": ["sims", *ATTACK],
    "jaxlib": ["defenses", "train"],
    "matplotlib": ["figures", "all"],
    "sympy": ["theory", "check"],
}


@pytest.mark.parametrize(("module", "command"), IMPORTING.items(), ids=IMPORTING)
def test_while_libraries_are_imported(module, command, tmp_path):
    out = [] if command[0] == "theory" else ["--out", str(tmp_path)]
    assert interrupted(["-c", AT_AN_IMPORT, module, *command, *out], never) == (130, "", STARTS_AGAIN)


STUB = """
import sys, time
from pathlib import Path
from defenses.commands.interruption import resumes_from, run_command, unwinding

def main(arguments):
    folder = Path(arguments[0])
    resumes_from(folder / "state")
{}

if __name__ == "__main__":
    run_command("__main__")
"""
SWALLOWED = """
    (folder / "state" / "one").mkdir()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""
HALF_DONE = """
    try:
        with unwinding():
            (folder / "half").mkdir()
            time.sleep(60)
    finally:
        (folder / "half").rmdir()
"""
GOES_ON_ALONE = """
    (folder / "begun").mkdir()
    time.sleep(0.2)
    return 0
"""


def test_what_goes_on_says_so_even_in_code_that_catches_all(tmp_path):
    (tmp_path / "state").mkdir()
    said = interrupted(["-c", STUB.format(SWALLOWED), str(tmp_path)], there(tmp_path, "state/one"))
    assert said == (130, "", GOES_ON)


def test_what_is_half_done_is_removed(tmp_path):
    said = interrupted(["-c", STUB.format(HALF_DONE), str(tmp_path)], there(tmp_path, "half"))
    assert said == (130, "", STARTS_AGAIN)
    assert not list(tmp_path.iterdir())


def test_a_job_in_the_background_is_left_alone(tmp_path):
    """A shell lets it ignore the signal."""
    words = [sys.executable, "-c", STUB.format(GOES_ON_ALONE), str(tmp_path)]
    ignoring = f"import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv({words[0]!r}, {words})"
    assert interrupted(["-c", ignoring], there(tmp_path, "begun")) == (0, "", "")


@pytest.mark.slow
def test_an_attack_goes_on_where_it_was_interrupted(models, tmp_path):
    def out(name: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "models").symlink_to(models)
        return tmp_path / name

    cut, whole = out("cut"), out("whole")
    moment = there(cut, "attack/cells/*.checkpoints/*/*.npz")
    assert interrupted(["-m", "sims", *ATTACK, "--out", str(cut)], moment) == (130, "", GOES_ON)
    assert main([*ATTACK, "--out", str(cut)]) == main([*ATTACK, "--out", str(whole)]) == 0
    assert store.latest(cut, "attack").data.identical(store.latest(whole, "attack").data)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 3, 6, 9, 12])
@pytest.mark.parametrize(
    "command",
    [["convergence", "--steps", "20000"], ["verify"], ["moments", "--samples", "10000000"], ["diversity"]],
    ids=lambda command: command[0],
)
def test_an_experiment_at_any_moment(models, tmp_path, command, seconds):
    (tmp_path / "models").symlink_to(models)
    said = interrupted(["-m", "sims", *command, "--out", str(tmp_path)], after(seconds))
    assert said == (130, "", STARTS_AGAIN)
    assert not list(tmp_path.glob("*/*/manifest.json"))


@pytest.mark.slow
def test_a_training_goes_on_after_its_last_whole_epoch(tmp_path):
    command = ["-m", "defenses", "train", "classifier", "resnet20", "--epochs", "50", "--out", str(tmp_path)]
    assert interrupted(command, there(tmp_path, "models/*.training/[1-9]*/*")) == (130, "", GOES_ON)


def test_another_signal_with_a_handler_of_its_own_ends_nothing():
    """PyTorch's data loaders handle SIGCHLD in Python: a worker that ends is no Control-C."""
    code = (
        "import signal, subprocess, time; from defenses.commands import interruption; interruption._watch(); "
        "signal.signal(signal.SIGCHLD, lambda *_: None); subprocess.run(['true']); time.sleep(0.3); print('alive')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "alive\n", "")
