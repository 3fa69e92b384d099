"""The segment from the clean image to an adversarial one, and its bisection.

The point at share α is, for ℓ2, at α of the way; for ℓ∞, the adversarial image with its perturbation clipped to α of
its length (Chen, Jordan & Wainwright 2020). Either lies at α times the length from the clean image. A bisection moves
the end itself: at share 1 the segment is adversarial, at `low` it is not, or low is 0.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sims.attacks.ball import Norm


def point(
    norm: Norm,
    clean: Float[Array, "h w c"],
    end: Float[Array, "h w c"],
    length: Float[Array, ""],
    share: Float[Array, ""],
) -> Float[Array, "h w c"]:
    """The image at that share of the segment, which ends at `end`, `length` away in that norm."""
    if norm == "l2":
        return clean + share * (end - clean)
    return clean + jnp.clip(end - clean, -share * length, share * length)


def middle(low: Float[Array, ""]) -> Float[Array, ""]:
    """The share that a bisection asks next."""
    return (low + 1) / 2


def narrowed(low: Float[Array, ""], fooled: Bool[Array, ""]) -> Float[Array, ""]:
    """`low` after the answer at the middle, which is the new end where it fooled: half the bracket is left."""
    return jnp.where(fooled, low / middle(low), middle(low))
