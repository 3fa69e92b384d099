"""Adam on a small network by jitted steps called from the host, one seed, one result."""

from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, Float, Key, PyTree

from defenses.data.dataset import Split
from defenses.training.progress import watched


def fit(
    loss: Callable[[PyTree, Key[Array, ""], Array, Array], Float[Array, ""]],
    params: PyTree,
    split: Split,
    key: Key[Array, ""],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    title: str,
    project: Callable[[PyTree], PyTree] = lambda params: params,
) -> PyTree:
    """Minimise `loss(params, key, images, labels)` by Adam under a cosine schedule; returns the last params.

    Step t draws `batch_size` rows with replacement from the key `fold_in(key, t)`, so a seed fixes the
    result bit for bit on one machine. `project` maps the params back onto their constraint after each step.
    A progress bar with `title` appears on stderr when training takes longer than two seconds.
    """
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

    @jax.jit
    def step(params, state, number, images, labels):
        rows_key, loss_key = jax.random.split(jax.random.fold_in(key, number))
        rows = jax.random.randint(rows_key, (batch_size,), 0, len(images))
        gradient = jax.grad(loss)(params, loss_key, images[rows], labels[rows])
        updates, state = optimiser.update(gradient, state, params)
        return project(optax.apply_updates(params, updates)), state

    images, labels = jax.device_put((split.images, split.labels))
    state = optimiser.init(params)
    for number in watched(range(steps), title):
        params, state = step(params, state, number, images, labels)
    return jax.block_until_ready(params)
