"""All figures by name."""

from figures import scans
from figures.plot import Plot
from figures.plots import (
    claims,
    convergence,
    cost,
    diversity,
    families,
    loss_surface,
    noise_variance,
    robust_accuracy,
    second_moment,
    tightness,
)

PLOTS: dict[str, Plot] = {
    "second-moment": second_moment.PLOT,
    "convergence": convergence.PLOT,
    "diversity": diversity.PLOT,
    "noise-variance": noise_variance.PLOT,
    "tightness": tightness.PLOT,
    "robust-accuracy": robust_accuracy.PLOT,
    "families": families.PLOT,
    "cost": cost.PLOT,
    "claims": claims.PLOT,
    "scans": scans.PLOT,
    "loss-surface": loss_surface.PLOT,
}


def find_plot(name: str) -> Plot:
    """The figure of that name; ValueError lists the names there are."""
    if name not in PLOTS:
        raise ValueError(f"figure must be one of {', '.join(PLOTS)}, got {name!r}")
    return PLOTS[name]
