"""What a run of the engine holds in memory, told before it starts and without a victim."""

import jax
import jax.numpy as jnp
import numpy as np

from sims.attacks.attack import Attack
from sims.engine.run import Schedule, slots_of

COPIES = 3  # of the slots: what a chunk is given, what it returns, and what it works on
QUEUE = 4  # arrays of all images on the device: the images, their starts, and the outcome before and after a chunk


def run_megabytes(attack: Attack, image_shape: tuple[int, int, int], images: int, schedule: Schedule) -> float:
    """Megabytes (10⁶ bytes) of a run on so many images (h, w, c), without the victim's own.

    Every slot holds the attack's state and the images it asks for. What XLA works on beside is between half of the
    slots' size and twice it, by attack; it is taken for as much as they are.
    """
    image = jax.ShapeDtypeStruct(image_shape, jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, pixels = jax.eval_shape(attack.init, key, image, image), 4 * int(np.prod(image_shape))
    slot = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) + attack.width * pixels
    return (COPIES * slots_of(attack, schedule, images) * slot + QUEUE * images * pixels) / 1e6
