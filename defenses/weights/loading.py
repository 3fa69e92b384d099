"""A network's params from a checkpoint file."""

from pathlib import Path

from jaxtyping import PyTree

from defenses.classifiers.architecture import Architecture
from defenses.classifiers.network import template
from defenses.files.checkpoint import read_arrays
from defenses.weights.conversion import convert


def load_checkpoint(
    path: Path,
    architecture: Architecture,
    image_shape: tuple[int, int, int],
    num_classes: int,
    sha256: str = "",
    key: str | None = None,
) -> PyTree:
    """The float32 params (weights and batch statistics) of an architecture from a safetensors or PyTorch file.

    image_shape: (h, w, c). sha256: the file's hash or its leading digits. key: of the set of weights.
    Raises ValueError as `read_arrays` and `convert` do, and before the file is read for an image shape that the
    architecture can't take.
    """
    expected = template(architecture, image_shape, num_classes)
    return convert(read_arrays(path, sha256, key), architecture, expected, path)
