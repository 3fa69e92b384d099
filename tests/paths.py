"""Where the project and, beside it, real data and published weights lie."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("PUREBOUND_DATA") or ROOT / "data")
WEIGHTS = DATA / "weights"
SHIPPED = ROOT / "figures" / "data"


def readmes() -> list[Path]:
    """Those of the project: the face, and one in some of its folders."""
    folders = ("theory", "defenses", "sims", "figures")
    return [ROOT / "README.md", *sorted(path for folder in folders for path in (ROOT / folder).rglob("README.md"))]
