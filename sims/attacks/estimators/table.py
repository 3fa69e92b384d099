"""The table of gradient estimators."""

from collections.abc import Callable
from functools import cache

from sims.attacks.estimators.estimator import GradientEstimator, antithetic, forward, forward_shared
from sims.attacks.estimators.identifying import identifying

REPEATS = 64  # of the point itself: sixteen members have all answered after 54 in the mean


def _identifying(smoothing_radius: float, num_directions: int, directions: str) -> GradientEstimator:
    return identifying(smoothing_radius, num_directions, REPEATS, directions)


ESTIMATORS: dict[str, Callable[[float, int, str], GradientEstimator]] = {
    "antithetic": antithetic,
    "forward": forward,
    "forward-shared": forward_shared,
    "identifying": _identifying,
}


@cache
def build_estimator(
    name: str, smoothing_radius: float, num_directions: int, directions: str = "gaussian"
) -> GradientEstimator:
    """The estimator of that name, one object per setting so that jitted code which takes it is compiled once.

    ValueError names an unknown one, a radius <= 0 or not finite, or fewer than one direction.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {name!r}")
    return ESTIMATORS[name](smoothing_radius, num_directions, directions)
