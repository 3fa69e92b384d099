"""V of the Gaussian-noise defence x ↦ x + σz against σ, beside its small-noise limit.

To first order f(x + σz) = f(x) + σ⟨∇f, z⟩, so V(x) → σ²‖∇f(x)‖² as σ → 0. The noise has no worst pair: ν and Δ are
infinite, and ν₂² = 2dσ² needs no measurement.
"""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr

from defenses.model import defended
from defenses.purifiers.transforms.gaussian_noise import gaussian_noise
from sims.measurements import local_geometry
from sims.victims.victim import Victim


def measure(
    victim: Victim, noise_levels: tuple[float, ...], draws: int, seed: int, advance: Callable[[int, int], None]
) -> xr.Dataset:
    """V with its standard error and the limit σ²‖∇f‖², each (noise_level, image); ‖∇f‖ (image,).

    noise_levels: σ > 0 in pixel units. draws: of the noise, per image and level, the same for every level.
    advance: (levels done, levels).
    """
    key, network, points = jax.random.key(seed), victim.network, (victim.images, victim.labels)
    undefended = local_geometry.measure(key, network, *points, draws)
    variance_of = local_geometry.loss_variance(defended(network, gaussian_noise(1.0)))
    levels = []
    for done, sigma in enumerate(noise_levels):
        advance(done, len(noise_levels))
        levels.append(variance_of(key, defended(network, gaussian_noise(sigma)).params, *points, draws))
    advance(len(noise_levels), len(noise_levels))
    variance, error = np.array(levels).transpose(1, 0, 2)
    gradient = undefended.gradient.reshape(len(victim.images), -1).astype(np.float64)
    norms = np.sqrt((gradient**2).sum(axis=1))
    dims, squared = ("noise_level", "image"), np.square(noise_levels)[:, None]
    data = {
        "noise_variance": (dims, variance, {"long_name": "loss-level variance V"}),
        "noise_variance_standard_error": (dims, error),
        "noise_limit": (dims, squared * norms**2, {"long_name": "small-noise limit σ²‖∇f‖²"}),
        "gradient_norm": ("image", norms, {"long_name": "‖∇f‖ of the undefended margin"}),
    }
    return xr.Dataset(data, {"noise_level": list(noise_levels), "image": victim.ids})
