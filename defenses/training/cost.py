"""What a training would cost, from the very step that it would run."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from defenses.classifiers.network import initial
from defenses.data.dataset import Dataset
from defenses.training.recipe import Recipe, trainable_split
from defenses.training.steps import Network, Steps, Sums, on_device, precision, steps_per_epoch, training_steps

LONG_ENOUGH = 1.0  # seconds of steps after which their rate is known


class Cost(NamedTuple):
    """Of a whole training on this device, without compilation and tests.

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


def cost(network: Network, recipe: Recipe, dataset: Dataset, seed: int) -> Cost:
    """Compile the step of this training, run it for a moment, and multiply; raises as `trainable_split` does."""
    train = trainable_split(recipe, dataset)
    dtype, images = precision(), len(train.labels)
    built = training_steps(network.computing_in(dtype), recipe, images, jax.random.key(seed))
    state = built.start(initial(network.architecture, network.image_shape, network.num_classes, seed))
    arguments = (state, Sums(jnp.float32(0), jnp.int32(0)), built.order(0), on_device(train))
    memory, seconds = _memory(built, *arguments), _seconds(lambda: built.train(*arguments))
    steps, operations = recipe.epochs * steps_per_epoch(recipe, images), _operations(built, *arguments)
    return Cost(
        steps=steps,
        operations=None if operations is None else steps * operations,
        seconds_per_step=seconds,
        seconds=steps * seconds,
        memory=memory,
        device=jax.devices()[0].device_kind,
        precision=dtype,
    )


def _operations(built: Steps, *arguments) -> float | None:
    """Of one step with all that it calls, lowered as one program but not compiled."""
    return (jax.jit(built.train).lower(*arguments).cost_analysis() or {}).get("flops")


def _memory(built: Steps, state, sums, order, rows) -> int:
    """Bytes held between the functions of a step, and the most that one adds; 0 for it where XLA does not say."""
    _, images, labels = built.batch(state.step, order, rows)
    functions = [built.update.lower(state, sums, images, labels)]
    if built.ascent is not None:
        functions.append(built.ascent.climb.lower(state.params, images, labels, images))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((state, sums, order, rows, images, labels)))
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
