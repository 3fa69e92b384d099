"""Two-sided 95 % intervals of what was measured."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

Z = 1.959964
"""95 % point of the two-sided normal law."""


def mean_and_half_width(values: xr.DataArray, over: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over a dimension and 1.96 standard errors of it."""
    mean = values.mean(over)
    return mean.values, (Z * values.std(over, ddof=1) / np.sqrt(values.sizes[over])).values


def wilson_band(counts: Int[np.ndarray, " n"], trials: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Lower and upper ends of Wilson's interval (1927) of every share counts/trials, in [0, 1]."""
    share, penalty = counts / trials, Z**2 / trials
    centre = (share + penalty / 2) / (1 + penalty)
    half = np.sqrt(share * (1 - share) * penalty + penalty**2 / 4) / (1 + penalty)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
