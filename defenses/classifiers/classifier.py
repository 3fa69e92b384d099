"""What a classifier is."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from jaxtyping import Array, Float, PyTree

from defenses.classifiers.inside import UNKNOWN, Inside
from defenses.files.resize import Resize


class Classifier(NamedTuple):
    """A classifier: a pure function of parameters and images.

    name: kebab-case, as in the zoo's table.
    params: pytree of float32 arrays.
    logits: (params, (n, h, w, c) float32 images in [0, 1] or outside) -> (n, num_classes) float32 scores.
    image_shape: (h, w, c) that `logits` takes.
    num_classes: length of a row of scores.
    smooth: whether the scores have a Lipschitz gradient; False with ReLU, for which L₁ does not exist.
    resize: how a picture file becomes an image of that shape; None where images come in it.
    origin: where the params come from, such as {"file": name, "sha256": digits}.
    inside: its layers, where they can be reached.
    """

    name: str
    params: PyTree
    logits: Callable[[PyTree, Float[Array, "n h w c"]], Float[Array, "n classes"]]
    image_shape: tuple[int, int, int]
    num_classes: int
    smooth: bool
    resize: Resize | None = None
    origin: Mapping[str, str] = MappingProxyType({})
    inside: Inside = UNKNOWN
