"""How a measured number is judged against a statement."""

import math
from typing import Literal, NamedTuple

from sims.measurements.streaming import Estimate

SIGMAS = 4.0  # family-wise control over a few hundred rows
PRECISION = 0.02  # largest standard error, as a share of the bound, that still decides


class Verdict(NamedTuple):
    """violated: beyond the bound by more than 4 SE. precise: SE <= 2 % of it. tight: within 4 SE of it."""

    violated: bool
    precise: bool
    tight: bool

    @property
    def holds(self) -> bool:
        """Not violated, and measured well enough to say so."""
        return not self.violated and self.precise


def judge(sense: Literal["upper", "lower", "equality"], measured: Estimate, bound: float) -> Verdict:
    """The verdict on one row; a non-finite measurement is a violation."""
    gap, allowed = measured.value - bound, SIGMAS * measured.standard_error
    # what float32 arithmetic leaves of an equality that has no sampling error
    rounding = 1e-5 * abs(bound)
    beyond = {"upper": gap, "lower": -gap, "equality": abs(gap)}[sense]
    inside = math.isfinite(measured.value) and beyond <= allowed + rounding < math.inf  # False for NaN
    precise = measured.standard_error <= PRECISION * abs(bound)
    return Verdict(not inside, precise, abs(gap) <= allowed + rounding)
