"""Random noise added to the input, the simplest randomised defence."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from defenses.defense import Defense
from defenses.options.ranges import check_at_least
from defenses.purifiers.method import Method


@dataclass(frozen=True)
class GaussianNoise:
    """Settings of the noise."""

    std: float = 0.05
    """Standard deviation in grey levels of [0, 1] pixels, finite and >= 0."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_at_least(self, std=0)


def gaussian_noise(std: float) -> Defense:
    """x ↦ x + σz with z ~ N(0, I) fresh in every row and nothing clipped; std is σ, raises as `GaussianNoise` does."""
    settings = GaussianNoise(std)

    def apply(params, keys, images):
        return images + params["std"] * noise_like(keys, images)

    return Defense("gaussian-noise", {"std": jnp.float32(settings.std)}, apply, True)


def noise_like(keys: Key[Array, " n"], rows: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """z ~ N(0, I) of the shape and dtype of the rows, each row from its own key."""
    return jax.vmap(lambda key: jax.random.normal(key, rows.shape[1:], rows.dtype))(keys)


METHOD = Method(
    GaussianNoise,
    lambda settings, _: gaussian_noise(settings.std),
    "Qin et al. 2021, Random Noise Defense Against Query-Based Black-Box Attacks; strength chosen here",
    randomized=True,
)
