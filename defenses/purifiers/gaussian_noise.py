"""Random noise added to the input, the simplest randomised defence."""

import math

import jax
import jax.numpy as jnp

from defenses.defense import Defense


def gaussian_noise(sigma: float) -> Defense:
    """x ↦ x + σz with z ~ N(0, I) fresh in every row and nothing clipped.

    sigma: standard deviation in grey levels of [0, 1] pixels; finite and ≥ 0, else ValueError.
    Source: Qin et al., Random Noise Defense Against Query-Based Black-Box Attacks (2021).
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be finite and >= 0, got {sigma}")

    def apply(params, keys, images):
        noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], images.dtype))(keys)
        return images + params["sigma"] * noise

    return Defense("gaussian-noise", {"sigma": jnp.float32(sigma)}, apply, True)
