"""The feasible set of an attack: the ε-ball around the clean image, cut with the box [0, 1]."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Norm = Literal["linf", "l2"]


def project(norm: Norm, image: Float[Array, "..."], clean: Float[Array, "..."], epsilon: float) -> Float[Array, "..."]:
    """Nearest point of the ball of radius `epsilon` (pixel units) for ℓ∞; for ℓ2 the box first, then the ball.

    The clean image is in the box, so shrinking the ℓ2 perturbation towards it cannot leave the box again.
    """
    if norm == "linf":
        return jnp.clip(jnp.clip(image, clean - epsilon, clean + epsilon), 0, 1)
    perturbation = jnp.clip(image, 0, 1) - clean
    length = jnp.sqrt(jnp.sum(perturbation**2))
    return clean + perturbation * jnp.minimum(1, epsilon / jnp.maximum(length, 1e-12))


def check_ball(norm: str, epsilon: float) -> None:
    """Raise ValueError naming the argument when the norm is unknown or the radius is not positive."""
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be linf or l2, got {norm!r}")
    if not 0 < epsilon < float("inf"):
        raise ValueError(f"epsilon must be > 0 and finite, got {epsilon}")
