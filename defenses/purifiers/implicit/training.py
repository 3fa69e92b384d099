"""How local implicit purifiers learn: to undo an attack, and to leave clean images alone.

Loss of one member m: D(x, m(x + sδ)) + λ D(x, m(x)) with D the mean absolute difference (arXiv 2401.10586; λ is ours to
choose, and so are factors s above 1). Half of the images of a batch are seen whole and half in patches, each by itself,
as the defence sees them. README.md in the folder above says what other choices did.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from defenses.data.dataset import Bytes, Split
from defenses.purifiers.implicit.network import Size, initial, purifier
from defenses.purifiers.pools.patches import cut
from defenses.training.augmentation import random_flip_and_transpose
from defenses.training.batches import Images, shuffled
from defenses.training.training import Loss, Seen, Training


@dataclass(frozen=True)
class Recipe:
    """How members are trained.

    epsilon: ℓ∞ radius of the attacks, in units of 1/255. images: training images that are attacked, the first ones.
    steps: batches that a member sees. patch_size: side of a patch in pixels, >= 1. stretch: s is uniform between
    these two, for each image anew. clean_weight: λ, >= 0. average: decay of the moving average of the params, in
    [0, 1), which is the result.
    """

    epsilon: float
    images: int
    steps: int
    batch_size: int
    patch_size: int
    stretch: tuple[float, float] = (1.0, 1.0)
    clean_weight: float = 0.0
    learning_rate: float = 1e-3
    average: float = 0.99


def pairs_of(clean: UInt8[np.ndarray, "n h w c"], attacked: UInt8[np.ndarray, "n h w c"]) -> Split:
    """Clean and attacked images as one split: the channels of the attacked ones stand behind the clean ones."""
    return Split(Bytes(np.concatenate([clean, attacked], axis=-1)), np.zeros(len(clean), np.int32))


def training(name: str, recipe: Recipe, size: Size, pairs: Split, seed: int) -> Training:
    """Of one member, on what `pairs_of` gives; first weights, batches and their order follow from `seed`."""
    colours = pairs.images.shape[-1] // 2
    batches = shuffled(jax.random.key(seed), len(pairs.labels), recipe.batch_size, random_flip_and_transpose)
    return Training(
        name=name,
        split=pairs,
        initial=lambda: initial(size, colours, seed),
        batches=batches,
        steps=recipe.steps,
        loss=_loss(recipe, size, colours),
        optimizer=_optimizer(recipe.learning_rate, recipe.steps),
        average=recipe.average,
    )


@lru_cache
def _loss(recipe: Recipe, size: Size, colours: int) -> Loss:
    """The same function for members of one size, which are compiled once."""
    purify = purifier(size, colours)

    def told(params, key, images, labels):
        clean, moved = images[..., :colours], images[..., colours:]
        s = jax.random.uniform(key, (len(images), 1, 1, 1), minval=recipe.stretch[0], maxval=recipe.stretch[1])
        moved = jnp.clip(clean + s * (moved - clean), 0, 1)
        return distance(partial(purify, params), recipe, clean, moved), Seen(params, {})

    return told


@lru_cache
def _optimizer(learning_rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(learning_rate, steps))


def distance(purify: Callable[[Images], Images], recipe: Recipe, clean: Images, moved: Images) -> Float[Array, ""]:
    """D(x, m(moved)) + λ D(x, m(x)), the first half of the images whole, the others in patches."""
    half = len(clean) // 2

    def apart(moved, clean):
        if not recipe.clean_weight:
            return jnp.abs(purify(moved) - clean).mean()
        both = jnp.concatenate([moved, clean])
        means = jnp.abs(purify(both) - jnp.concatenate([clean, clean])).reshape(2, -1).mean(axis=1)
        return means[0] + recipe.clean_weight * means[1]

    def patches(images):
        return cut(images[half:], recipe.patch_size)

    return (apart(moved[:half], clean[:half]) + apart(patches(moved), patches(clean))) / 2
