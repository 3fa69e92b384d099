"""Weights from a training, on disk: trained once, measured, and described on their card."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from defenses.training.trainer import Diverged, train
from defenses.training.training import Training
from defenses.weights.cached import Identity, Weights, location, obtain


def trained(
    identity: Identity,
    cache: Path,
    template: PyTree,
    training: Callable[[], Training],
    measure: Callable[[PyTree], Mapping[str, Any]],
) -> Weights:
    """The weights of that identity: read from `cache`, or trained, measured and stored there.

    training: asked for only when there is something to train. measure: what the card reports.
    While training lasts its state lies beside the result, in `training_folder`; the next call goes on from there. A
    run that diverges leaves nothing: the same training would diverge again. The card says what `measure` reports, the
    history of rounds and their seconds. Raises ValueError for a folder that can't be written, a damaged file or state,
    or numbers that are not finite.
    """
    folder = training_folder(identity, cache)

    def fit() -> tuple[PyTree, Mapping[str, Any]]:
        try:
            params, history = train(training(), folder)
        except Diverged:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return params, {"seconds": round(sum(one["seconds"] for one in history), 1), "history": history}

    weights = obtain(identity, cache, template, fit, measure)
    shutil.rmtree(folder, ignore_errors=True)
    return weights


def training_folder(identity: Identity, cache: Path) -> Path:
    """Where the state of such a training lies while it lasts."""
    return location(identity, cache).with_suffix(".training")
