"""The feasible set of an attack: the ε-ball around the clean image, cut with the box [0, 1]."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
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


def distance(norm: Norm, image: Float[Array, "..."], clean: Float[Array, "..."]) -> Float[Array, ""]:
    """Distance between two images, pixel units."""
    if norm == "linf":
        return jnp.max(jnp.abs(image - clean))
    return jnp.sqrt(jnp.sum((image - clean) ** 2))


def lengths(norm: Norm, perturbations: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    """Length of each of n perturbations on the host, pixel units."""
    return np.linalg.norm(perturbations.reshape(len(perturbations), -1), ord=np.inf if norm == "linf" else 2, axis=1)


def unit(norm: Norm, v: Float[Array, "..."]) -> Float[Array, "..."]:
    """The step of length one that gains most along `v`: its signs (ℓ∞), or itself at unit length; 0 stays 0."""
    if norm == "linf":
        return jnp.sign(v)
    scaled = v / jnp.maximum(jnp.max(jnp.abs(v)), jnp.finfo(jnp.float32).tiny)  # squares of small numbers vanish
    return scaled / jnp.maximum(jnp.sqrt(jnp.sum(scaled**2)), 1)


def check_ball(epsilon: float) -> None:
    """Raise ValueError unless the radius is positive and finite."""
    if not 0 < epsilon < float("inf"):
        raise ValueError(f"epsilon must be > 0 and finite, got {epsilon}")
