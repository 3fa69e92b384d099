"""Where the project and, beside it, real data and published weights lie."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("PUREBOUND_DATA") or ROOT / "data")
WEIGHTS = DATA / "weights"
SHIPPED = ROOT / "figures" / "data"
