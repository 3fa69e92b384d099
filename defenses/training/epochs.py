"""Epochs driven from the host: progress on stderr, a checkpoint after each, and the way back to it."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from defenses.classifiers.network import initial, template
from defenses.data.dataset import Split
from defenses.training.recipe import Recipe
from defenses.training.steps import (
    Network,
    State,
    Steps,
    Sums,
    measuring_step,
    on_device,
    precision,
    steps_per_epoch,
    training_steps,
)

Epoch = dict[str, Any]


class Diverged(ValueError):
    """A training whose numbers are no longer finite."""


def train(
    network: Network, recipe: Recipe, train: Split, test: Split, seed: int, folder: Path
) -> tuple[PyTree, list[Epoch]]:
    """Params after the recipe's epochs, and what was seen in each.

    The initial weights, the order of an epoch and the draws of a step follow from `seed` and their number alone.
    After every epoch the state is kept in `folder`; when it holds one, training goes on from there, on a CPU with
    the bits of an uninterrupted run. An epoch's record: epoch (from 1), loss and accuracy on its own augmented,
    perhaps perturbed images while it ran, test_accuracy after it, seconds, device, precision.
    Raises Diverged when loss, params or scores are not finite after an epoch, ValueError when `folder` can't be read.
    """
    dtype, images = precision(), len(train.labels)
    computing = network.computing_in(dtype)
    steps = training_steps(computing, recipe, images, jax.random.key(seed))
    measure = measuring_step(computing, recipe.batch_size)
    rows, held_out = on_device(train), on_device(test)
    shape = (network.architecture, network.image_shape, network.num_classes)
    per_epoch = steps_per_epoch(recipe, images)
    seen = per_epoch * recipe.batch_size
    with _manager(folder) as manager, _progress() as progress:
        kept = _kept(manager, folder, jax.eval_shape(steps.start, template(*shape)))
        state, history = kept or (steps.start(initial(*shape, seed)), [])
        bar = progress.add_task(network.name, total=recipe.epochs * seen, completed=len(history) * seen, figures="")

        def show(done: int, sums: Sums) -> None:
            figures = f"loss {sums.loss / done:.4f}, accuracy {100 * sums.correct / done:.2f} %"
            progress.update(bar, advance=recipe.batch_size, figures=figures)

        for epoch in range(len(history), recipe.epochs):
            started = time.perf_counter()
            state, sums = _epoch(steps, state, epoch, per_epoch, recipe.batch_size, rows, show)
            record = {
                "epoch": epoch + 1,
                "loss": float(sums.loss) / seen,
                "accuracy": int(sums.correct) / seen,
                "test_accuracy": measure(state.params, held_out),
                "seconds": round(time.perf_counter() - started, 2),
                "device": jax.devices()[0].device_kind,
                "precision": dtype,
            }
            _check_finite(record, state.params, recipe)
            history.append(record)
            manager.save(
                epoch + 1, args=_contents(ocp.args.StandardSave(state), ocp.args.JsonSave({"epochs": history}))
            )
            progress.console.print(_line(record, recipe), highlight=False, soft_wrap=True)
    return state.params, history


def _epoch(steps: Steps, state: State, epoch: int, per_epoch: int, batch_size: int, rows, show: Callable):
    """State and sums after the epoch; what `show` gets is one step old, so the device never waits for the host."""
    order, sums = steps.order(epoch), Sums(jnp.float32(0), jnp.int32(0))
    for number in range(per_epoch):
        before = sums
        state, sums = steps.train(state, sums, order, rows)
        if number:
            show(number * batch_size, before)
    show(per_epoch * batch_size, sums)
    return state, sums


def _manager(folder: Path) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder.absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=1))


def _contents(state: Any, history: Any) -> ocp.args.Composite:
    return ocp.args.Composite(state=state, history=history)


def _kept(manager: ocp.CheckpointManager, folder: Path, expected: State) -> tuple[State, list[Epoch]] | None:
    """What `folder` holds, None when it is empty; `expected` has the state's shapes and dtypes."""
    epoch = manager.latest_step()
    if epoch is None:
        return None
    try:
        kept = manager.restore(epoch, args=_contents(ocp.args.StandardRestore(expected), ocp.args.JsonRestore()))
        return kept["state"], list(kept["history"]["epochs"])
    except Exception as error:  # orbax raises many kinds for damaged files
        raise ValueError(f"{folder} is damaged or foreign ({error}); delete it to train from the start") from error


def _check_finite(record: Epoch, params: PyTree, recipe: Recipe) -> None:
    """The loss is of the params before each update, so the last update shows in params and held-out scores alone."""
    finite = {
        "loss": math.isfinite(record["loss"]),
        "weights": all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params)),
        "scores of held-out images": math.isfinite(record["test_accuracy"]),
    }
    if not all(finite.values()):
        found = " and ".join(name for name, holds in finite.items() if not holds)
        raise Diverged(
            f"learning_rate must be small enough for finite numbers, got {recipe.learning_rate:g}: "
            f"{found} not finite in epoch {record['epoch']}"
        )


def _line(record: Epoch, recipe: Recipe) -> str:
    return (
        f"epoch {record['epoch']}/{recipe.epochs}: loss {record['loss']:.4f}, "
        f"accuracy {100 * record['accuracy']:.2f} %, held-out images {100 * record['test_accuracy']:.2f} %, "
        f"{record['seconds']:.0f} s"
    )


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images, {task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
