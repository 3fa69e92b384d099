"""The record of a training: all that the trainer knows of what it trains."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import optax
from jaxtyping import Array, Float, Key, PyTree

from defenses.data.dataset import Split
from defenses.training.adversarial import Ascent
from defenses.training.batches import Batches, Images, Labels


class Seen(NamedTuple):
    """What a loss tells beside its value.

    params: the params as this batch leaves them where `trainable` says False, such as batch statistics.
    figures: other means over the batch, float32 scalars by their names, such as the accuracy.
    """

    params: PyTree
    figures: Mapping[str, Float[Array, ""]]


Loss = Callable[[PyTree, Key[Array, ""], Images, Labels], tuple[Float[Array, ""], Seen]]


class Training(NamedTuple):
    """Descent on the loss of batches, by an optax transformation; pure functions and numbers, no state.

    name: shown beside the progress. split: what it learns from. initial: () -> the params before the first step,
        a pytree of float32 arrays.
    batches, steps: which rows a step sees, and how many steps there are, ≥ 1.
    loss: (params, key, images (n, h, w, c) float32 in [0, 1], labels (n,) int32) -> its mean, float32, and `Seen`.
    trainable: True for the leaves that the optimizer moves, False for those that `Seen.params` brings; None: all move.
    project: maps the params back onto their constraint after each step; jitted. finish: what the last ones still need.
    average: decay in [0, 1) of the exponential moving average of the params, which then is the result; 0: the last
        params are the result.
    ascent: the adversary on whose images the loss is taken, None without one.
    evaluate: (params) -> numbers by their names, asked after every round; one that is not finite ends the training.
    precision: the dtype that the loss computes in, as text, for the record.
    """

    name: str
    split: Split
    initial: Callable[[], PyTree]
    batches: Batches
    steps: int
    loss: Loss
    optimizer: optax.GradientTransformation
    trainable: PyTree | None = None
    project: Callable[[PyTree], PyTree] = lambda params: params
    finish: Callable[[PyTree], PyTree] = lambda params: params
    average: float = 0.0
    ascent: Ascent | None = None
    evaluate: Callable[[PyTree], Mapping[str, float]] | None = None
    precision: str = "float32"
