"""The training of this project's small networks: rows drawn anew in each step, Adam under a cosine to 0."""

from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, Float, Key, PyTree

from defenses.data.dataset import Split
from defenses.training.batches import Images, Labels, with_replacement
from defenses.training.training import Seen, Training


def small_training(
    name: str,
    split: Split,
    initial: Callable[[], PyTree],
    loss: Callable[[PyTree, Key[Array, ""], Images, Labels], Float[Array, ""]],
    *,
    seed: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> Training:
    """Descent of all params on a loss that tells nothing beside its value; every draw follows from `seed`."""

    def told(params: PyTree, key, images, labels) -> tuple[Float[Array, ""], Seen]:
        return loss(params, key, images, labels), Seen(params, {})

    return Training(
        name=name,
        split=split,
        initial=initial,
        batches=with_replacement(jax.random.key(seed), len(split.labels), batch_size),
        steps=steps,
        loss=told,
        optimizer=optax.adam(optax.cosine_decay_schedule(learning_rate, steps)),
    )
