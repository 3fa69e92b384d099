"""Victims that are no jitted function of this process: any Python callable, a service, a person at a desk.

A `HostOracle` names what the attacker may see and the callable that is asked; `sims.engine.run.run_attack` takes one
wherever it takes an `Oracle`. What the callable returns is read and checked here, and made an `Answer` by the very
functions of `sims.victims.oracle`, so that an attack cannot tell the two kinds of victim apart.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from defenses.model import Model, bare
from sims.victims.losses import margin_loss
from sims.victims.oracle import Answer, Loss, Oracle, averaged, fools, oracle_of, reveal_of

NO_CLASS = -1  # the label of a row whose scores are not finite


@dataclass(frozen=True)
class HostOracle:
    """A victim that the host asks, one call for all rows that wait.

    name: tells it from other victims, in its errors and in a checkpoint; not empty.
    feedback: "scores", "loss" or "label", what the attacker sees.
    victim: (images (n, h, w, c) float32 in [0, 1], request) -> scores (n, num_classes) float, logits rather than
        probabilities, or, for feedback "label", the classes (n,) integer; an answer depends on its own row, not on the
        rest of the call (a network is in evaluation mode). request: names the call; a call repeated after an
        interruption has the same one, and only such a call (see `sims.engine.host_loop`).
    num_classes: >= 2.
    targeted: a row fools when its class is its label, and the loss is turned round.
    loss: what feedback "loss" reveals of the scores.
    repeats: >= 1, how often each query is sent; its answer is the mean (label: the majority) of all, see `averaged`.
    run: tells the names of its requests from those of another run that may send the same images; a victim that
        remembers names would answer both with the same draw.
    """

    name: str
    feedback: str
    victim: Callable[[Float[np.ndarray, "n h w c"], str], Any]
    num_classes: int
    targeted: bool = False
    loss: Loss = margin_loss
    repeats: int = 1
    run: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first field outside its range."""
        if not self.name:
            raise ValueError("name must not be empty, got ''")
        if self.feedback not in ("scores", "loss", "label"):
            raise ValueError(f"feedback must be scores, loss or label, got {self.feedback!r}")
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be >= 2, got {self.num_classes}")
        if self.repeats < 1:
            raise ValueError(f"repeats must be >= 1, got {self.repeats}")


def seen_by(
    model: Model, feedback: str, *, targeted: bool = False, loss: Loss = margin_loss, average: int = 1, run: str = ""
) -> Oracle | HostOracle:
    """What an attacker sees of any model, whether it is jitted or asked on the host.

    feedback, targeted, loss, average: as in `oracle_of`. run: as in `HostOracle`.
    """
    if model.host is None:
        return oracle_of(model, feedback, targeted=targeted, loss=loss, average=average)
    return HostOracle(bare(model).name, feedback, model.host, model.num_classes, targeted, loss, average, run)


class PlainVictim(NamedTuple):
    """A function of the images alone as the victim of a `HostOracle`: it has no use for the names of requests."""

    function: Callable[[Float[np.ndarray, "n h w c"]], Any]

    def __call__(self, images: Float[np.ndarray, "n h w c"], request: str) -> Any:
        """What the function returns for the images."""
        return self.function(images)


def plain_victim(function: Callable[[Float[np.ndarray, "n h w c"]], Any]) -> PlainVictim:
    """Any function of the images alone as the victim of a `HostOracle`."""
    return PlainVictim(function)


def identity(oracle: HostOracle) -> str:
    """What tells its runs from those of other oracles."""
    loss = getattr(oracle.loss, "__qualname__", "")
    return f"{oracle.name!r} {oracle.feedback} {loss} {oracle.num_classes} {oracle.targeted} {oracle.run}"


def interface(oracle: HostOracle, queries: int) -> Oracle:
    """The oracle as the engine's compiled half knows it: its `params` are the victim's replies to so many queries.

    `query` makes answers of them and never looks at the keys or the images.
    """
    compiled = _interface(oracle.feedback, oracle.num_classes, oracle.targeted, oracle.loss, oracle.repeats)
    return compiled._replace(params=no_replies(oracle, queries))


@functools.lru_cache
def _interface(feedback: str, num_classes: int, targeted: bool, loss: Loss, repeats: int) -> Oracle:
    reveal = reveal_of(feedback, loss, targeted)

    def query(replies, keys, images, labels):
        if feedback == "label":
            return Answer(replies, fools(replies, labels, targeted))
        return Answer(reveal(replies, labels), fools(jnp.argmax(replies, axis=-1), labels, targeted))

    once = Oracle(feedback, None, query, jax.random.split, 1, num_classes, targeted)
    return averaged(once, repeats) if repeats > 1 else once


def no_replies(oracle: HostOracle, queries: int) -> Shaped[np.ndarray, "replies ..."]:
    """Room for the replies to so many queries, `repeats` each: float32 scores, or int32 labels."""
    rows = queries * oracle.repeats
    if oracle.feedback == "label":
        return np.zeros(rows, np.int32)
    return np.zeros((rows, oracle.num_classes), np.float32)


def read_replies(oracle: HostOracle, returned: Any, rows: int) -> Shaped[np.ndarray, "rows ..."]:
    """What the victim returned for `rows` images, in the form of `no_replies`.

    Scores that are not finite stay so (the engine stops the image); as a label they are `NO_CLASS`.
    Raises ValueError, naming the victim, what came and what was expected, for anything but such scores or labels.
    """
    shape, only_labels = (rows, oracle.num_classes), oracle.feedback == "label"
    expected = f"float scores {shape}" + (f" or integer labels {(rows,)}" if only_labels else "")
    try:
        found = np.asarray(returned)
    except Exception as error:  # of any kind that a tensor's own conversion raises
        raise ValueError(f"{oracle.name} must return {expected}, got no array: {error}") from error
    if found.shape == shape and np.issubdtype(found.dtype, np.floating):
        return _classes(_float32(found)) if only_labels else _float32(found)
    if only_labels and found.shape == (rows,) and np.issubdtype(found.dtype, np.integer):
        if (found < 0).any() or (found >= oracle.num_classes).any():
            wrong = found[(found < 0) | (found >= oracle.num_classes)][0]
            raise ValueError(f"{oracle.name} must return labels in [0, {oracle.num_classes}), got {wrong}")
        return found.astype(np.int32)
    raise ValueError(f"{oracle.name} must return {expected}, got {found.dtype} {found.shape}")


def _float32(scores: np.ndarray) -> Float[np.ndarray, "n classes"]:
    with np.errstate(over="ignore"):  # what is too large becomes inf, and so the status of its image
        return scores.astype(np.float32)


def _classes(scores: Float[np.ndarray, "n classes"]) -> np.ndarray:
    finite = np.isfinite(scores).all(axis=1)
    return np.where(finite, np.argmax(scores, axis=1), NO_CLASS).astype(np.int32)
