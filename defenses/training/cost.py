"""What a training would cost, from the very step that it would run."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from defenses.training.batches import on_device
from defenses.training.steps import Stepping, stepping
from defenses.training.training import Training

LONG_ENOUGH = 1.0  # seconds of steps after which their rate is known


class Cost(NamedTuple):
    """Of a whole training on this device, without compilation and evaluation.

    steps: number of steps. operations: floating-point ones as XLA counts them, a multiply-add as two; None where it
    does not. seconds_per_step: the fastest of the steps tried, at least two. seconds: of all steps.
    memory: bytes of the training images and the state, and of what the largest function of a step adds to them.
    """

    steps: int
    operations: float | None
    seconds_per_step: float
    seconds: float
    memory: int
    device: str
    precision: str


def cost(training: Training) -> Cost:
    """Compile the step of this training, run it for a moment, and multiply."""
    steps = stepping(training)
    arguments = (steps.start(), training.batches.order(0), on_device(training.split))
    memory, seconds = _memory(steps, *arguments), _seconds(lambda: _first(steps, *arguments))
    operations = _operations(steps, *arguments)
    return Cost(
        steps=training.steps,
        operations=None if operations is None else training.steps * operations,
        seconds_per_step=seconds,
        seconds=training.steps * seconds,
        memory=memory,
        device=jax.devices()[0].device_kind,
        precision=training.precision,
    )


def _first(steps: Stepping, state, order, rows):
    return steps.step(state, 0, order, rows)


def _operations(steps: Stepping, *arguments) -> float | None:
    """Of one step with all that it calls, lowered as one program but not compiled."""
    lowered = jax.jit(lambda *given: _first(steps, *given)).lower(*arguments)
    return (lowered.cost_analysis() or {}).get("flops")


def _memory(steps: Stepping, state, order, rows) -> int:
    """Bytes held between the functions of a step, and the most that one adds; 0 for it where XLA does not say."""
    key, images, labels = steps.training.batches.draw(state.step, jnp.int32(0), order, rows)
    functions = [steps.update.lower(state, key, images, labels)]
    if (ascent := steps.training.ascent) is not None:
        functions.append(ascent.climb.lower(state.params, images, labels, images))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((state, order, rows, images, labels)))
    return held + max(_added(function.compile().memory_analysis()) for function in functions)


def _added(known) -> int:
    return sum(getattr(known, name, 0) for name in ("output_size_in_bytes", "temp_size_in_bytes"))


def _seconds(run) -> float:
    times = []
    while len(times) < 2 or sum(times) < LONG_ENOUGH:
        started = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - started)
    return min(times)
