"""What networks hold in memory while they answer, told before their weights are read."""

from functools import cache

import jax
import jax.numpy as jnp

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import network_classifier, template
from defenses.data.normalization import UNCHANGED
from defenses.data.sources import image_shape
from sims.victims.victim import VictimOptions


def network_megabytes(options: VictimOptions, forward_rows: int, gradient_rows: int) -> float:
    """Megabytes (10⁶ bytes) of the largest network, its parameters and what XLA works on for so many rows at once.

    The network is compiled for it, a second or two, without weights; a small network or a user's own counts nothing.
    """
    named = [choice.name for choice in options.model if choice.name in ARCHITECTURES]
    return max(
        (_megabytes(name, image_shape(options.dataset), forward_rows, gradient_rows) for name in named), default=0
    )


@cache
def _megabytes(name: str, shape: tuple[int, int, int], forward_rows: int, gradient_rows: int) -> float:
    architecture, classes = ARCHITECTURES[name], 10  # their number hardly matters
    params = template(architecture, shape, classes)
    network = network_classifier(name, architecture, params, shape, classes, UNCHANGED[shape[-1]])

    def gradient(params, rows):
        return jax.grad(lambda rows: network.logits(params, rows).sum())(rows)

    def needed(function, rows: int) -> int:
        images = jax.ShapeDtypeStruct((rows, *shape), jnp.float32)
        analysis = jax.jit(function).lower(params, images).compile().memory_analysis()
        assert analysis is not None  # XLA has one for every backend of this project
        return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes

    return max(needed(network.logits, forward_rows), needed(gradient, gradient_rows)) / 1e6
