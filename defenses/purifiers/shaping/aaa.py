"""AAA: a shown margin that falls where the true one rises, so that a search climbs away from the boundary.

Source: Chen et al., Adversarial Attack on Attackers (2022), recalled and not read again. The published defence finds
the scores by an optimisation that also keeps the confidence; here the margin alone is set. Its constants are settings.
"""

from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp

from defenses.options.ranges import check_positive
from defenses.purifiers.method import Method
from defenses.purifiers.shaping.margin import Margins, shaped


@dataclass(frozen=True)
class Aaa:
    """Settings of the map."""

    interval: float = 6.0
    """Length τ of an interval of margins, > 0."""
    slope: float = 1.0
    """How steeply the shown margin falls within an interval, > 0."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_positive(self, "interval", "slope")


def shown(settings: Aaa, margins: Margins) -> Margins:
    """c − slope · (m − c) around the middle c of the interval of m."""
    middle = (jnp.floor(margins / settings.interval) + 0.5) * settings.interval
    return middle - settings.slope * (margins - middle)


METHOD = Method(
    Aaa,
    lambda settings, _: lambda model: shaped(model, "aaa", partial(shown, settings)),
    "Chen et al. 2022, Adversarial Attack on Attackers: recalled, margin alone",
)
