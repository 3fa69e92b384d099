"""Which rows the steps of a training see: every row once an epoch, or some drawn anew in each step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num

from defenses.data.dataset import Bytes, Split

STEPS_OF_A_ROUND = 100  # where rows are drawn anew in each step

Images = Float[Array, "n h w c"]
Labels = Int[Array, " n"]


class Rows(NamedTuple):
    """A split on the device: pixels (n, h, w, c) uint8 in 0..255 or float32 in [0, 1]; labels (n,) int32."""

    pixels: Num[Array, "n h w c"]
    labels: Labels


class Batches(NamedTuple):
    """The batches of a training, in rounds of as many steps.

    unit: what a round is called. steps: of a round, ≥ 1. size: rows of a step.
    order: (round) -> what `draw` needs in all steps of that round; jitted.
    draw: (step, its place in its round, order, rows) -> the step's key, its images (size, h, w, c) float32 in [0, 1]
        and labels (size,) int32; jitted. All of it follows from the training's key and the number of the step.
    """

    unit: str
    steps: int
    size: int
    order: Callable[[int], Any]
    draw: Callable[[Int[Array, ""], Int[Array, ""], Any, Rows], tuple[Key[Array, ""], Images, Labels]]


def shuffled(
    key: Key[Array, ""],
    rows: int,
    size: int,
    augment: Callable[[Key[Array, ""], Num[Array, "n h w c"]], Num[Array, "n h w c"]],
) -> Batches:
    """Epochs: each goes through the `rows` in an order of its own and leaves out the last, partial batch."""
    order_key, step_key = jax.random.split(key)

    def order(epoch):
        return _permutation(order_key, epoch, rows)

    def draw(step, place, order, rows):
        return _in_order(augment, size, step_key, step, place, order, rows)

    return Batches("epoch", rows // size, size, order, draw)


def with_replacement(key: Key[Array, ""], rows: int, size: int) -> Batches:
    """Each step draws its rows independently and uniformly among `rows`."""

    def draw(step, place, order, data):
        return _at_random(rows, size, key, step, data)

    return Batches("round", STEPS_OF_A_ROUND, size, lambda number: None, draw)


@partial(jax.jit, static_argnums=2)
def _permutation(key, epoch, rows: int):
    return jax.random.permutation(jax.random.fold_in(key, epoch), rows)


@partial(jax.jit, static_argnums=(0, 1))
def _in_order(augment, size: int, key, step, place, order, rows: Rows):
    augment_key, rest = jax.random.split(jax.random.fold_in(key, step))
    numbers = jax.lax.dynamic_slice_in_dim(order, place * size, size)
    return rest, unit(augment(augment_key, rows.pixels[numbers])), rows.labels[numbers]


@partial(jax.jit, static_argnums=(0, 1))
def _at_random(rows: int, size: int, key, step, data: Rows):
    rows_key, rest = jax.random.split(jax.random.fold_in(key, step))
    numbers = jax.random.randint(rows_key, (size,), 0, rows)
    return rest, unit(data.pixels[numbers]), data.labels[numbers]


def on_device(split: Split) -> Rows:
    """The split on the device, as bytes where it holds bytes."""
    pixels = split.images.pixels if isinstance(split.images, Bytes) else split.images[:]
    return Rows(*jax.device_put((pixels, split.labels)))


def unit(pixels: Num[Array, "n h w c"]) -> Images:
    """Bytes as float32 in [0, 1]; floats as they are."""
    return pixels.astype(jnp.float32) / 255 if pixels.dtype == jnp.uint8 else pixels
