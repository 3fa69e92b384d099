"""Constant shifts: the certified family, of known diversity, whose Jacobian is the identity."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from defenses.purifiers.pools.family import PurifierFamily, family_of


def shift_family(shifts: Float[Array, "..."]) -> PurifierFamily:
    """The purifiers m_k(x) = x + b_k: L₀(m_k) = 1, L₁(m_k) = 0, ‖m_i(x) − m_j(x)‖ = ‖b_i − b_j‖ for every x.

    shifts: (K, h, w, c) float32, K ≥ 1, else ValueError.
    """
    if jnp.ndim(shifts) != 4 or len(shifts) < 1:
        raise ValueError(f"shifts must have shape (K, h, w, c) with K >= 1, got shape {jnp.shape(shifts)}")
    params = {"shift": jnp.asarray(shifts)}
    return family_of("shift", params, lambda params, images: images + params["shift"], len(shifts))
