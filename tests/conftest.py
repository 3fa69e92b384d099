"""What all tests and all test processes share: trained weights, and the programs that XLA has compiled."""

import fcntl
import os
import tempfile

import jax
import pytest

from defenses import zoo
from defenses.files.folders import Folders
from defenses.purifiers.table import read_defense

LONGEST = (
    "attack/test_recheck.py",  # trains the networks of the digits, which the next ones do not need
    "attacks/test_attacks.py",
    "white_box/test_restarts.py",
    "engine/test_run.py",
    "experiments/test_white_box.py",
    "experiments/test_experiments.py",
    "attacks/test_random_victims.py",
    "classifiers/test_architectures.py",
    "classifiers/test_learning.py",
)
LIGHTLY = "jax_disable_most_optimizations"  # compiles in half the time, runs slower
WITHOUT_FUSION_EMITTERS = "--xla_cpu_use_fusion_emitters=false"  # again half the time; programs hardly slower


def pytest_addoption(parser):
    parser.addoption("--write-golden", action="store_true", help="write tests/golden/run.json anew")


def pytest_configure(config):
    """Compile a program once a session, for both workers and for the commands they start, and lightly.

    A cache that $JAX_COMPILATION_CACHE_DIR names outlives the session.
    """
    if WITHOUT_FUSION_EMITTERS not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {WITHOUT_FUSION_EMITTERS}".strip()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="purebound-programs-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # workers and commands share the cores; more threads than cores spin
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_default_matmul_precision", "highest")  # as the commands do: one program for both
    compile_lightly(True)


def compile_lightly(lightly: bool):
    """From now on, in this process and in those it starts; False for full optimisation."""
    if os.environ.get(LIGHTLY.upper()) != str(int(lightly)):
        os.environ[LIGHTLY.upper()] = str(int(lightly))
        jax.config.update(LIGHTLY, lightly)
        jax.clear_caches()


@pytest.fixture
def users_options():
    """Compiler options that, with the mark as_users_compile, give the bits and the memory of a user's run."""
    return {"xla_cpu_use_fusion_emitters": True}


@pytest.fixture(autouse=True)
def _compilation(request):
    compile_lightly(request.node.get_closest_marker("as_users_compile") is None)
    yield
    compile_lightly(True)  # what modules and sessions share is made before this fixture of the next test


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with every network of the digits, trained from seed 0."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "models"
    with (shared / "models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_lightly(False)  # some thousand steps
        zoo.purifier_family("digits", 0, Folders(models=folder))
        zoo.classifier("orthogonal", "digits", 0, Folders(models=folder))
        zoo.guard(read_defense("puridefense:patch_size=4"), "digits", 0, Folders(models=folder))
        compile_lightly(True)
    return folder


def pytest_collection_modifyitems(items):
    """The longest files first, so that two workers end together."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get("/".join(item.path.parts[-2:]), len(LONGEST)))
