"""One step of a training, in jitted functions that the host calls: XLA's loops slow convolutions on a CPU."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from defenses.training.batches import Rows
from defenses.training.training import Training

Figures = Mapping[str, Float[Array, ""]]


class State(NamedTuple):
    """What the next step needs, besides its batch.

    params (float32), the optimizer's state, the steps done (int32); average: the moving average of the params, an
    empty tuple where none is kept.
    """

    params: PyTree
    optimizer: PyTree
    average: PyTree
    step: Int[Array, ""]


class Stepping(NamedTuple):
    """The steps of one training.

    update: (state, key, images, labels) -> the state after one batch, and the figures of that batch: its "loss", and
        what the loss tells beside it; jitted.
    """

    training: Training
    update: Callable[..., tuple[State, Figures]]

    def start(self) -> State:
        """The state before the first step."""
        params = self.training.initial()
        average = params if self.training.average else ()
        return State(params, self.training.optimizer.init(params), average, jnp.int32(0))

    def step(self, state: State, place: int, order: Any, rows: Rows) -> tuple[State, Figures]:
        """State and figures after the batch at that place of the round's `order`, perturbed by the adversary."""
        key, images, labels = self.training.batches.draw(state.step, jnp.int32(place), order, rows)
        if self.training.ascent is not None:
            images = self.training.ascent.perturbed(state.params, key, images, labels)
        return self.update(state, key, images, labels)


def result(training: Training, state: State) -> PyTree:
    """The params that the training gives."""
    return state.average if training.average else state.params


def stepping(training: Training) -> Stepping:
    """The steps of that training; one that differs in its data alone is not compiled again."""
    learns = training.trainable
    mask = None if learns is None else (tuple(jax.tree.leaves(learns)), jax.tree.structure(learns))
    return Stepping(training, _update(training.loss, training.optimizer, mask, training.project, training.average))


@lru_cache(maxsize=4)
def _update(loss_of, optimizer, mask, project, average: float) -> Callable[..., tuple[State, Figures]]:
    """The compiled step. mask: leaves and structure of `trainable`."""

    @jax.jit
    def update(state, key, images, labels):
        (loss, seen), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params, key, images, labels)
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        moved = project(optax.apply_updates(state.params, updates))
        params = moved if mask is None else _chosen(jax.tree.unflatten(mask[1], mask[0]), moved, seen.params)
        mean = optax.incremental_update(params, state.average, 1 - average) if average else ()
        return State(params, moments, mean, state.step + 1), {"loss": loss, **seen.figures}

    return update


def _chosen(learns: PyTree, moved: PyTree, seen: PyTree) -> PyTree:
    return jax.tree.map(lambda learns, new, kept: new if learns else kept, learns, moved, seen)
