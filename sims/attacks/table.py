"""The table of attacks: one line each, built from one set of options."""

from collections.abc import Callable
from dataclasses import dataclass

from sims.attacks.attack import Attack
from sims.attacks.ball import Norm
from sims.attacks.nes import default_rule, nes
from sims.attacks.null import null
from sims.attacks.square import square
from sims.estimators.estimator import antithetic


@dataclass(frozen=True)
class AttackOptions:
    """What the attacks of one run have in common, and the settings of each."""

    norm: Norm = "linf"
    """Norm of the ball: linf or l2."""
    epsilon: float = 0.15
    """Radius of the ball, pixel units, > 0."""
    query_budget: int = 500
    """Rows the network may evaluate for one image."""
    smoothing_radius: float = 0.01
    """NES: μ, pixel units; public toolkits use 2.55/255."""
    num_directions: int = 10
    """NES: antithetic pairs per step, q."""
    step_size: float = 0.03
    """NES: length of a step, pixel units (ℓ∞: every pixel; ℓ2: the image)."""
    initial_fraction: float = 0.8
    """Square: share of the image the first square covers, in (0, 1]."""


def _nes(options: AttackOptions) -> Attack:
    estimator = antithetic(options.smoothing_radius, options.num_directions)
    return nes(options.norm, options.epsilon, estimator, default_rule(options.norm, options.step_size))


def _square(options: AttackOptions) -> Attack:
    return square(options.norm, options.epsilon, options.query_budget, options.initial_fraction)


ATTACKS: dict[str, Callable[[AttackOptions], Attack]] = {
    "nes": _nes,
    "square": _square,
    "null": lambda options: null(),
}


def build_attack(name: str, options: AttackOptions) -> Attack:
    """The attack of that name; ValueError names an unknown one, or a setting outside its range."""
    if name not in ATTACKS:
        raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {name!r}")
    return ATTACKS[name](options)
