"""How a measured number is judged against a statement."""

import math
from typing import Literal, NamedTuple

from sims.measurements.streaming import Estimate

SIGMAS = 4.0  # family-wise control over a few hundred rows
PRECISION = 0.02  # largest standard error, as a share of the bound, that still decides
ROUNDING = 1e-5  # what float32 arithmetic leaves of a number that has no sampling error

TIGHT, HOLDS, UNDECIDED = "tight", "holds", "undecided"  # the words of a verdict
FAILING = VIOLATED, STRANGE = "violated", "not where it is known to be"


class Verdict(NamedTuple):
    """violated: beyond the bound by more than 4 SE. precise: SE <= 2 % of it. tight: within 4 SE of it.

    strange: further than 4 SE from the share of the bound that this instance is known to reach.
    """

    violated: bool
    precise: bool
    tight: bool
    strange: bool

    @property
    def holds(self) -> bool:
        """Not violated, where it is known to be, and measured well enough to say so."""
        return not self.violated and not self.strange and self.precise

    @property
    def word(self) -> str:
        """The verdict in a word."""
        if self.violated:
            return VIOLATED
        if self.strange:
            return STRANGE
        if not self.precise:
            return UNDECIDED
        return TIGHT if self.tight else HOLDS


def judge(
    sense: Literal["upper", "lower", "equality"], measured: Estimate, bound: float, known: float | None = None
) -> Verdict:
    """The verdict on one row; a non-finite measurement is a violation.

    known: measured / bound where that is known exactly on this instance, 1 where the bound is reached.
    """
    gap, allowed = measured.value - bound, SIGMAS * measured.standard_error + ROUNDING * abs(bound)
    beyond = {"upper": gap, "lower": -gap, "equality": abs(gap)}[sense]
    inside = math.isfinite(measured.value) and beyond <= allowed < math.inf  # False for NaN
    precise = measured.standard_error <= PRECISION * abs(bound)
    strange = known is not None and not abs(measured.value - known * bound) <= allowed
    return Verdict(not inside, precise, abs(gap) <= allowed, strange)
