"""Our defended classifiers as Foolbox, ART and torch see them, with every row counted.

The victim answers NumPy rows; PyTorch is only how Foolbox and torchattacks pass them on, and there is no gradient. ART
gets it as a black-box classifier that predicts from NumPy arrays: wrapped as its own torch classifier, Boundary and
HopSkipJump hand over float64 under NumPy 2 and crash; this way they run under any NumPy.
"""
# pyright: reportMissingImports=false

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from defenses.model import Model
from sims.peers.account import Account, BudgetSpent

TILES = (64, 8, 1)  # rows per forward pass, largest first: peers ask for any number, and nothing is padded


class CountingVictim:
    """A defended classifier as a function of rows (n, h, w, c) in [0, 1] -> scores (n, classes), NumPy float32.

    Every row draws a fresh key of the defence, fold_in(key(seed), number of the row). rows, calls: what was forwarded.
    seconds: inside the forward passes; bookkeeping: seconds spent on the account, which no peer should pay for.
    account: who is charged; None counts without a budget.
    """

    def __init__(self, model: Model, image_shape: tuple[int, ...], seed: int):
        self.image_shape, self.num_classes = image_shape, model.num_classes
        self.account: Account | None = None
        self.rows = self.calls = 0
        self.seconds = self.bookkeeping = 0.0
        self._params, self._key = model.params, jax.random.key(seed)

        @jax.jit
        def forward(params, key, first, images):
            keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(len(images)))
            return model.scores(params, keys, images)

        self._forward = forward

    def __call__(self, images: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n classes"]:
        """The scores of those rows; BudgetSpent when an account is open and none of them can help any image."""
        rows = np.ascontiguousarray(images, np.float32)
        self.calls += 1
        if self.account is None:
            return self._scores(rows)
        started = time.perf_counter()
        owners = self.account.owners(rows)
        paid, goes_on = self.account.open(owners)
        if not goes_on:  # the last call: only what can still be paid for
            rows, owners, paid = rows[paid], owners[paid], paid[paid]
        before = self.seconds
        scores = self._scores(rows)
        self.account.credit(rows, owners, paid, scores)
        self.bookkeeping += time.perf_counter() - started - (self.seconds - before)
        if not goes_on:
            raise BudgetSpent
        return scores

    def compile(self) -> None:
        """Compile every tile now, so that no peer is timed with it; counts nothing."""
        for tile in TILES:
            self._forward(self._params, self._key, 0, jnp.zeros((tile, *self.image_shape)))

    def _scores(self, rows: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n classes"]:
        started, done = time.perf_counter(), 0
        scores = np.empty((len(rows), self.num_classes), np.float32)
        while done < len(rows):
            tile = next(tile for tile in TILES if tile <= len(rows) - done)
            part = slice(done, done + tile)
            scores[part] = self._forward(self._params, self._key, self.rows + done, rows[part])
            done += tile
        self.rows += len(rows)
        self.seconds += time.perf_counter() - started
        return scores


def torch_module(victim: CountingVictim) -> Any:
    """The victim as a torch.nn.Module on images (n, c, h, w); RuntimeError where a gradient is asked for."""
    import torch

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.device_marker = torch.nn.Parameter(torch.zeros(0), requires_grad=False)  # torchattacks looks for one

        def forward(self, images):
            if images.requires_grad:
                raise RuntimeError("the victim answers queries only; a gradient attack needs the classifier itself")
            return torch.from_numpy(victim(images.permute(0, 2, 3, 1).numpy()))

    return Module().eval()


def foolbox_model(victim: CountingVictim) -> Any:
    """The victim as a Foolbox model with bounds (0, 1)."""
    import foolbox

    return foolbox.PyTorchModel(torch_module(victim), bounds=(0, 1), device="cpu")


def art_classifier(victim: CountingVictim, probabilities: bool = False) -> Any:
    """The victim as an ART classifier on images (n, h, w, c); predicts logits, or probabilities for SimBA."""
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork

    def predict(images):
        scores = victim(images)
        return _softmax(scores) if probabilities else scores

    return BlackBoxClassifierNeuralNetwork(
        predict, victim.image_shape, victim.num_classes, channels_first=False, clip_values=(0.0, 1.0)
    )


def _softmax(scores: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
