"""Diversity of the Gaussian-noise defence x ↦ x + σz against σ, beside its small-noise limit.

To first order f(x + σz) = f(x) + σ⟨∇f, z⟩, so V(x) → σ²‖∇f(x)‖² as σ → 0; ν₂² = 2 tr Cov = 2dσ² at every σ, and no
worst pair exists (ν = ∞).
"""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr

from defenses.purifiers.gaussian_noise import gaussian_noise
from defenses.purifiers.identity import identity
from sims import local_geometry
from sims.victims import Victim


def measure(
    victim: Victim, noise_levels: tuple[float, ...], draws: int, seed: int, advance: Callable[[int, int], None]
) -> xr.Dataset:
    """V with its standard error, Δ and the limit σ²‖∇f‖², each (noise_level, image); ‖∇f‖ (image,).

    noise_levels: σ > 0 in pixel units. draws: of the noise, per image and level, the same for every level.
    advance: (levels done, levels).
    """
    key = jax.random.key(seed)

    def geometry(defense):
        return local_geometry.measure(key, victim.classifier, defense, victim.images, victim.labels, draws)

    gradient = geometry(identity()).gradient
    levels = []
    for done, sigma in enumerate(noise_levels):
        advance(done, len(noise_levels))
        levels.append(geometry(gaussian_noise(sigma)))
    advance(len(noise_levels), len(noise_levels))
    norms = np.sqrt((gradient.reshape(len(gradient), -1).astype(np.float64) ** 2).sum(axis=1))
    dims, squared = ("noise_level", "image"), np.square(noise_levels)[:, None]
    data = {
        "noise_variance": (dims, np.array([g.variance for g in levels]), {"long_name": "loss-level variance V"}),
        "noise_variance_standard_error": (dims, np.array([g.variance_error for g in levels])),
        "noise_limit": (dims, squared * norms**2, {"long_name": "small-noise limit σ²‖∇f‖²"}),
        "noise_loss_spread": (
            dims,
            np.array([g.spread for g in levels]),
            {"long_name": "range of the loss over draws, Δ"},
        ),
        "noise_nu2_squared": (dims, np.broadcast_to(2 * victim.images[0].size * squared, (len(levels), len(norms)))),
        "gradient_norm": ("image", norms, {"long_name": "‖∇f‖ of the undefended margin"}),
    }
    return xr.Dataset(data, {"noise_level": list(noise_levels), "image": victim.ids})
