"""A victim with its gradients for white-box attacks of PyTorch libraries: forward and backward are JAX's.

Comparisons then are of attacks alone, on the same network, bit for bit the same scores.
"""
# pyright: reportMissingImports=false

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from defenses.classifiers.classifier import Classifier
from defenses.defense import Defense
from sims.oracle import victim_scores

TILE = 32  # rows per pass: one shape, one compilation


def differentiable_module(classifier: Classifier, defense: Defense, seed: int) -> Any:
    """The victim as a torch.nn.Module on images (n, c, h, w), with exact gradients of its scores.

    Every row of every call draws a fresh key of the defence; a gradient is that of the draw that was seen.
    """
    import torch

    params, scores = (defense.params, classifier.params), victim_scores(classifier, defense)
    forward = jax.jit(scores)

    @jax.jit
    def backward(params, keys, images, cotangents):
        return jax.vjp(lambda images: scores(params, keys, images), images)[1](cotangents)[0]

    class Scores(torch.autograd.Function):
        @staticmethod
        def forward(context, images, first):
            rows = images.detach().permute(0, 2, 3, 1).numpy()
            context.first, context.rows = first, rows
            return torch.from_numpy(_tiled(forward, params, _keys(seed, first, len(rows)), rows))

        @staticmethod
        def backward(context, *cotangents):
            keys = _keys(seed, context.first, len(context.rows))
            gradient = _tiled(backward, params, keys, context.rows, cotangents[0].numpy())
            return torch.from_numpy(gradient).permute(0, 3, 1, 2), None

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.device_marker = torch.nn.Parameter(torch.zeros(0), requires_grad=False)  # torchattacks looks for one
            self.rows = 0

        def forward(self, images):
            self.rows += len(images)
            return Scores.apply(images, self.rows - len(images))

    return Module().eval()


def _keys(seed: int, first: int, count: int):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), first + jnp.arange(count))


def _tiled(function, params, keys, *arrays: Float[np.ndarray, "n ..."]) -> np.ndarray:
    """The function over tiles of rows, the last one filled up with its last row."""
    count = len(arrays[0])
    filled = np.minimum(np.arange(-(-count // TILE) * TILE), count - 1)
    tiles = [filled[i : i + TILE] for i in range(0, len(filled), TILE)]
    parts = [np.asarray(function(params, keys[rows], *(array[rows] for array in arrays))) for rows in tiles]
    return np.concatenate(parts)[:count]
