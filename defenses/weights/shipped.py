"""Weights that come with this project: in half precision, in the folder beside this file, with their cards."""

import hashlib
import json
from pathlib import Path

from safetensors import numpy as safetensors

from defenses.weights.cached import card_path

FOLDER = Path(__file__).parent / "files"


def shipped(name: str, dataset: str) -> Path | None:
    """The file of what has that name on that data set; None where none is shipped."""
    path = FOLDER / f"{dataset}-{name}.safetensors"
    return path if path.is_file() else None


def halved(path: Path, target: Path) -> None:
    """Write the arrays of a weights file in float16 as `target`, and its card beside it, which says so."""
    arrays = {name: array.astype("float16") for name, array in safetensors.load_file(path).items()}
    content = safetensors.save(arrays)
    card = json.loads(card_path(path).read_text())
    card |= {"rounded": {"to": "float16", "from_sha256": card["sha256"]}, "sha256": hashlib.sha256(content).hexdigest()}
    target.write_bytes(content)
    card_path(target).write_text(json.dumps(card, indent=2) + "\n")
