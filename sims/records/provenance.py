"""What ran, and where: command, commit, versions and machine of this process."""

import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from sims.records.code import ROOT
from sims.records.key import versions

PACKAGES = ("jax", "flax", "optax", "numpy", "sympy")


def provenance(modules: Sequence[str], code: str) -> dict[str, Any]:
    """Those modules, their hash and the versions that keys depend on; command, commit and machine of this process."""
    return {
        "modules": modules,
        "code": code,
        "needs": versions(),
        "argv": sys.argv[1:],
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": platform.machine(),
    }


def _commit() -> str:
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()
