"""Runs a training from the host: rounds of steps, progress on stderr, the state kept, and back to it after a kill."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from defenses.training.batches import on_device
from defenses.training.checkpoints import Checkpoints, Round
from defenses.training.steps import Figures, State, Stepping, result, stepping
from defenses.training.training import Training


class Diverged(ValueError):
    """A training whose numbers are no longer finite."""


def train(training: Training, folder: Path) -> tuple[PyTree, list[Round]]:
    """Params after all steps, and what was seen in each round.

    The state is kept in `folder` from time to time; when it holds one, training goes on from there, on a CPU with the
    bits of an uninterrupted run. A round's record: its number from 1 under the name of `batches.unit`, the means of
    "loss" and the other figures over its steps, what `evaluate` says after it, seconds, device, precision.
    Raises Diverged when loss, params or what `evaluate` says are not finite after a round, ValueError when `folder`
    can't be read.
    """
    steps, rows = stepping(training), on_device(training.split)
    per_round = training.batches.steps
    rounds = -(-training.steps // per_round)
    with Checkpoints(folder) as checkpoints, _progress() as progress:
        state, history = checkpoints.latest(jax.eval_shape(steps.start)) or (steps.start(), [])
        done = len(history) * per_round
        bar = progress.add_task(training.name, total=training.steps, completed=done, figures="")

        def show(figures: Figures) -> None:
            progress.update(bar, advance=1, figures=_words(figures))

        for number in range(len(history), rounds):
            began = time.perf_counter()
            count = min(per_round, training.steps - number * per_round)
            state, figures = _round(steps, state, number, count, rows, show)
            history.append(_record(training, number, state, figures, began))
            checkpoints.keep(state, history)
            if training.evaluate is not None:
                progress.console.print(_line(training, history[-1], rounds), highlight=False, soft_wrap=True)
    return training.finish(result(training, state)), history


def _round(steps: Stepping, state: State, number: int, count: int, rows, show) -> tuple[State, dict[str, float]]:
    """The state after a round, and its figures; what `show` gets is a step old, so no device waits for the host."""
    order, seen = steps.training.batches.order(number), []
    for place in range(count):
        state, figures = steps.step(state, place, order, rows)
        if seen:
            show(seen[-1])
        seen.append(figures)
    show(seen[-1])
    seen = jax.device_get(seen)
    return state, {name: float(np.mean([figures[name] for figures in seen])) for name in seen[0]}


def _record(training: Training, number: int, state: State, figures: dict[str, float], began: float) -> Round:
    params, evaluate = result(training, state), training.evaluate
    evaluated = {} if evaluate is None else dict(evaluate(params))
    when = f"{training.batches.unit} {number + 1}"
    _check_finite(when, {**figures, **evaluated}, state.params)
    return {
        training.batches.unit: number + 1,
        **figures,
        **evaluated,
        "seconds": round(time.perf_counter() - began, 2),
        "device": jax.devices()[0].device_kind,
        "precision": training.precision,
    }


def _check_finite(when: str, numbers: dict[str, float], params: PyTree) -> None:
    """The loss is of the params before each update, so the last update shows in params and evaluation alone."""
    finite = {name: math.isfinite(number) for name, number in numbers.items()}
    finite["weights"] = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))
    if not all(finite.values()):
        found = " and ".join(name for name, holds in finite.items() if not holds)
        raise Diverged(f"learning_rate must be small enough for finite numbers: {found} not finite in {when}")


def _line(training: Training, record: Round, rounds: int) -> str:
    unit = training.batches.unit
    figures = {k: v for k, v in record.items() if k not in (unit, "seconds", "device", "precision")}
    return f"{unit} {record[unit]}/{rounds}: {_words(figures)}, {record['seconds']:.0f} s"


def _words(figures: Any) -> str:
    return ", ".join(f"{name} {float(value):.4f}" for name, value in figures.items())


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, {task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
