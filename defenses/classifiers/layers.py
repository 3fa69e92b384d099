"""The layers that the networks share: channels last, PyTorch's symmetric padding, published initialisations."""

from functools import partial

import jax
from flax import nnx
from flax.typing import Initializer

HE_NORMAL = jax.nn.initializers.variance_scaling(2, "fan_out", "normal")
LINEAR_UNIFORM = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

batch_norm = partial(nnx.BatchNorm, momentum=0.9, epsilon=1e-5)


def convolution(
    width_in: int, width_out: int, size: int, rngs: nnx.Rngs, *, stride: int = 1, bias: bool = False
) -> nnx.Conv:
    """A size × size convolution, size odd, with (size − 1)/2 zeros on every side, He-normal by its outputs.

    `SAME` padding differs from this at stride 2 on even images. Source: He et al., Delving Deep into Rectifiers (2015).
    """
    return nnx.Conv(
        width_in,
        width_out,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=bias,
        kernel_init=HE_NORMAL,
        rngs=rngs,
    )


def linear(width_in: int, width_out: int, rngs: nnx.Rngs, kernel_init: Initializer = LINEAR_UNIFORM) -> nnx.Linear:
    """A dense layer with zero bias; its kernel is uniform in ±1/√width_in unless told otherwise."""
    return nnx.Linear(width_in, width_out, kernel_init=kernel_init, rngs=rngs)
