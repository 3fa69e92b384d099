"""What a training would cost, from the very step that it would run."""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from defenses.classifier_training.recipe import Recipe, training_images
from defenses.classifier_training.steps import Network, Sums, on_device, precision, steps_per_epoch, training_steps
from defenses.classifiers.network import initial, template
from defenses.data.dataset import Dataset

LONG_ENOUGH = 1.0  # seconds of steps after which their rate is known


class Cost(NamedTuple):
    """Of a whole training on this device, without compilation and tests.

    steps: number of steps. operations: floating-point ones, 3 forward passes for every forward and backward, and
    as much again for every step of the adversary. seconds_per_step: the fastest of the steps tried.
    seconds: of all steps. memory: bytes that the step needs at once, the images on the device among them.
    """

    steps: int
    operations: float
    seconds_per_step: float
    seconds: float
    memory: int
    device: str
    precision: str


def cost(network: Network, recipe: Recipe, dataset: Dataset, seed: int) -> Cost:
    """Compile the step of this training, run it for a moment, and multiply; raises as `training_images` does."""
    train = training_images(recipe, dataset)
    dtype, images = precision(), len(train.labels)
    built = training_steps(network.computing_in(dtype), recipe, images, jax.random.key(seed))
    state = built.start(initial(network.architecture, network.image_shape, network.num_classes, seed))
    arguments = (state, Sums(jnp.float32(0), jnp.int32(0)), built.order(0), on_device(train))
    step = jax.jit(built.train).lower(*arguments).compile()
    steps, seconds = recipe.epochs * steps_per_epoch(recipe, images), _seconds(lambda: step(*arguments))
    passes = 3 * (1 + (recipe.adversary.steps if recipe.adversary else 0))
    return Cost(
        steps=steps,
        operations=passes * steps * recipe.batch_size * forward_operations(network),
        seconds_per_step=seconds,
        seconds=steps * seconds,
        memory=_memory(step),
        device=jax.devices()[0].device_kind,
        precision=dtype,
    )


def forward_operations(network: Network) -> float:
    """Floating-point operations of one image's forward pass, a multiply-add counted as two."""
    params = template(network.architecture, network.image_shape, network.num_classes)
    image = jax.ShapeDtypeStruct((1, *network.image_shape), np.float32)
    analysis = jax.jit(network.classifier({}).logits).lower(params, image).cost_analysis()
    return analysis["flops"] if analysis else math.nan


def _memory(step) -> int:
    """Bytes of arguments, results and intermediate arrays; 0 where the compiler does not say."""
    known = step.memory_analysis()
    sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return sum(getattr(known, size, 0) for size in sizes)


def _seconds(run) -> float:
    times = []
    while sum(times) < LONG_ENOUGH:
        started = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - started)
    return min(times)
