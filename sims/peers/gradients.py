"""A victim with its gradients for white-box attacks of PyTorch libraries: forward and backward are JAX's.

Comparisons then are of attacks alone, on the same network, bit for bit the same scores.
"""
# pyright: reportMissingImports=false

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from defenses.model import Model

TILE = 32  # rows per pass: one shape, one compilation


def differentiable_module(model: Model, seed: int) -> Any:
    """The victim as a torch.nn.Module on images (n, c, h, w), with exact gradients of its scores.

    Every row of every call draws a fresh key of the defence; a gradient is that of the draw that was seen.
    """
    import torch

    params, scores = model.params, model.scores
    forward, back = jax.jit(scores), jax.jit(lambda back, cotangents: back(cotangents)[0])

    @jax.jit
    def forward_and_back(params, keys, images):
        return jax.vjp(lambda images: scores(params, keys, images), images)

    class Scores(torch.autograd.Function):
        @staticmethod
        def forward(context, images, first):
            rows = images.detach().permute(0, 2, 3, 1).numpy()
            keys = _keys(seed, first, len(rows))
            if not context.needs_input_grad[0]:
                return _joined([forward(params, keys[tile], rows[tile]) for tile in _tiles(len(rows))], len(rows))
            answers = [forward_and_back(params, keys[tile], rows[tile]) for tile in _tiles(len(rows))]
            context.back = [answer[1] for answer in answers]
            return _joined([answer[0] for answer in answers], len(rows))

        @staticmethod
        def backward(context, *cotangents):
            rows = cotangents[0].numpy()
            each = zip(context.back, _tiles(len(rows)), strict=True)
            gradient = _joined([back(tile_back, rows[tile]) for tile_back, tile in each], len(rows))
            return gradient.permute(0, 3, 1, 2), None

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


def _tiles(count: int) -> list[np.ndarray]:
    """Which rows every pass takes: TILE of them, the last one filled up with the last row."""
    filled = np.minimum(np.arange(-(-count // TILE) * TILE), count - 1)
    return list(filled.reshape(-1, TILE))


def _joined(parts: list[Any], count: int) -> Any:
    """The answers of all passes as a tensor (count, ...), without what filled up the last one."""
    import torch

    return torch.from_numpy(np.concatenate([np.asarray(part) for part in parts])[:count])
