"""DLD: a shown margin that jumps between a rising and a falling line, so that a search is led astray.

Source: the map as `PAPERS.md` read it in the paper (AISTATS 2026); it is deterministic and never changes a decision.
"""

from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp

from defenses.options.ranges import check_positive, check_shares
from defenses.purifiers.method import Method
from defenses.purifiers.shaping.margin import Margins, shaped


@dataclass(frozen=True)
class Dld:
    """Settings of the map."""

    interval: float = 6.0
    """Length τ of an interval of margins, > 0."""
    height: float = 0.3
    """Where both lines begin, as a share h of the interval, in (0, 1]."""
    dash: float = 0.04
    """Length of a dash as a share of the interval, in (0, 1]."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_positive(self, "interval")
        check_shares(self, "height", "dash")


def shown(settings: Dld, margins: Margins) -> Margins:
    """The shown margin: L + hτ + (1 − h)(m − L) on even dashes of the interval from L, L + hτ − h(m − L) on odd."""
    start = jnp.floor(margins / settings.interval) * settings.interval
    inside, begin = margins - start, start + settings.height * settings.interval
    even = jnp.floor(inside / (settings.dash * settings.interval)) % 2 == 0
    return begin + jnp.where(even, (1 - settings.height) * inside, -settings.height * inside)


METHOD = Method(
    Dld,
    lambda settings, _: lambda model: shaped(model, "dld", partial(shown, settings)),
    "DLD, AISTATS 2026",
)
