"""Sign-OPT: descend the distance to the boundary along a direction by the signs of its slopes (Cheng et al. 2020).

g(θ) is the radius at which the ray along θ leaves its class. One query tells the sign of a slope: whether the ray
along θ + βu is adversarial at the radius g(θ) already. The mean of many such u, each with its sign, is a gradient; a
line search along it asks first whether a step is better at all, and only then by how much.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from defenses.options.ranges import check_counts, check_positive
from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.ball import Norm
from sims.attacks.decision.closest import Closest, decision_attack, distance_of, none_yet, remember
from sims.attacks.decision.ray_search import (
    Bracket,
    Ray,
    along,
    found,
    is_narrow,
    may_improve,
    middle,
    narrowed,
    of_phase,
    through,
)
from sims.attacks.estimators.directions import rademacher
from sims.attacks.method import Method

OPENING, SHRINKING, STEPPING, REFINING, PROBING = range(5)
COARSE = 0.01  # share of a radius to which it is known while directions are compared
LEAST_STEP, MOST_STEP = 1e-4, 100.0  # beyond which a line search ends
LAST_SEARCH = 15  # queries of the budget that the last gradient leaves to its line search


@dataclass(frozen=True)
class SignOPT:
    """Settings of Sign-OPT; the first two are scaled down where the budget is small."""

    num_directions: int = 200
    """Slopes per gradient, q, >= 1; at most a twentieth of the budget is used."""
    num_starts: int = 100
    """Random directions tried for a start, >= 1; at most a hundredth of the budget."""
    smoothing_radius: float = 0.001
    """β, the length of a probe in units of the direction, > 0; also pixel units at radius 1."""
    step_size: float = 0.2
    """η, the first step of a line search in units of the direction, > 0; 0.2/√q in the authors' code."""
    tolerance: float = 2e-6
    """Where the search for g(θ) ends, pixel units, > 0; β/500."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_counts(self, num_directions=1, num_starts=1)
        check_positive(self, "smoothing_radius", "step_size", "tolerance")


class SignOPTState(NamedTuple):
    """ray: along θ, which is its direction at length 1. gradient: (h, w, c) sum of the signed slopes.

    bracket: radii of the ray; the upper one is g(θ). shrink: () share of the radius the next query goes inwards at
    most. step, accepted: () the step to try, and the longest that was better, 0 while none was.
    phase: () one of the five above. tried: () openings. probed: () slopes known. asked: () queries.
    """

    closest: Closest
    ray: Ray
    gradient: Float[Array, "h w c"]
    bracket: Bracket
    shrink: Float[Array, ""]
    step: Float[Array, ""]
    accepted: Float[Array, ""]
    phase: Int[Array, ""]
    tried: Int[Array, ""]
    probed: Int[Array, ""]
    asked: Int[Array, ""]


def sign_opt(threat: Threat, settings: SignOPT) -> Attack:
    """Sign-OPT without momentum; a start that fools is the only one.

    For ℓ∞ a step follows the signs of the gradient, and probes are not brought back to length 1: nearly all of them
    would be longer for it, and so not adversarial.
    """
    norm, beta = threat.norm, settings.smoothing_radius
    slopes = max(min(settings.num_directions, threat.query_budget // 20), 1)
    starts = max(min(settings.num_starts, threat.query_budget // 100), 1)

    def init(key, image, start):
        zero, nothing = jnp.int32(0), jnp.float32(0)
        ray = through(norm, start, image)
        search = Bracket(nothing, ray.length), jnp.float32(0.5), jnp.float32(settings.step_size), nothing
        gradient = jnp.zeros_like(ray.direction)
        return SignOPTState(none_yet(image), ray, gradient, *search, jnp.int32(OPENING), zero, zero, zero)

    def ask(key, state):
        signs = rademacher(key, 1, state.gradient.shape)[0]
        probing, opening = state.phase == PROBING, (state.phase == OPENING) & (state.tried > 0)
        step = jnp.where(state.phase == STEPPING, state.step, jnp.where(probing, 0.0, state.accepted))
        kept = jnp.where(opening, 0, 1 / jnp.maximum(state.ray.length, 1e-12))
        drawn = jnp.where(opening, 1, jnp.where(probing, beta, 0)) / (math.sqrt(signs.size) if norm == "l2" else 1)
        downhill = jnp.sign(state.gradient) if norm == "linf" else state.gradient
        direction = kept * state.ray.direction - step * downhill + drawn * signs
        length = distance_of(norm, direction, jnp.zeros_like(direction))
        length = jnp.where(probing & (norm == "linf"), 1.0, length)
        searching = (state.phase == SHRINKING) | (state.phase == REFINING)
        radius = jnp.where(searching, _inwards(state), state.bracket.upper)
        image = along(state.closest.clean, Ray(direction, length), radius)
        return Queries(image[None], may_improve(threat, state.closest, state.tried)[None])

    def tell(state, queries, answers):
        queried, fooled = queries.images[0], answers.fooled[0]
        closest = remember(threat, state.closest, queried, fooled)
        state = state._replace(closest=closest, asked=state.asked + 1)
        over = (state.probed + 1 >= slopes) | (state.asked == threat.query_budget - LAST_SEARCH)
        return of_phase(
            state.phase,
            _opened(norm, starts, state, queried, fooled),
            _shrunk(state, fooled),
            _stepped(settings.step_size, state, fooled),
            _refined(norm, settings.tolerance, state, queried, fooled),
            _probed(beta * math.sqrt(slopes), over, state, queried, fooled),
        )

    return decision_attack("sign-opt", threat, init, ask, tell)


METHOD = Method(
    SignOPT,
    sign_opt,
    "label",
    ("linf", "l2"),
    "1",
    "Cheng et al. 2020, arXiv 1909.10773; settings as in the authors' code but for the first step, counts scaled down "
    "for budgets below 10,000",
)


def _inwards(state: SignOPTState) -> Float[Array, ""]:
    """The radius to ask next: a little inwards, then twice as far, and so on; the middle once that is nearer."""
    return jnp.maximum(middle(state.bracket), state.bracket.upper * (1 - state.shrink))


def _opened(
    norm: Norm, starts: int, state: SignOPTState, queried: Float[Array, "h w c"], fooled: Bool[Array, ""]
) -> SignOPTState:
    """Keep a direction that is adversarial at the best radius; before there is one, at the far end of the box."""
    ray = through(norm, queried, state.closest.clean)
    better = fooled & (ray.length > 0)
    tried = jnp.where((state.tried == 0) & better, starts + 1, state.tried + 1)
    known, last = found(state.closest), tried > starts
    far = 1.0 if norm == "linf" else math.sqrt(queried.size)
    upper = jnp.where(better, ray.length, jnp.where(known, state.bracket.upper, far))
    return state._replace(
        ray=jax.tree.map(partial(jnp.where, better), ray, state.ray),
        bracket=Bracket(jnp.where(better, 0.0, state.bracket.lower), upper),
        shrink=jnp.float32(0.5),
        phase=jnp.where(known & last, REFINING, jnp.where(better, SHRINKING, OPENING)),
        tried=tried,
    )


def _shrunk(state: SignOPTState, fooled: Bool[Array, ""]) -> SignOPTState:
    """Search the radius coarsely: of a start, or of the step accepted last; then try the next one."""
    bracket = narrowed(state.bracket, _inwards(state), fooled)
    after = jnp.where(state.accepted > 0, STEPPING, OPENING)
    return state._replace(
        bracket=bracket,
        shrink=2 * state.shrink,
        phase=jnp.where(is_narrow(bracket, COARSE * bracket.upper), after, SHRINKING),
    )


def _stepped(step_size: float, state: SignOPTState, fooled: Bool[Array, ""]) -> SignOPTState:
    """Double the step while it is better; take the last that was, or quarter it until one is, or probe again."""
    better = fooled & (state.step <= MOST_STEP)
    take = ~better & (state.accepted > 0)
    vain = ~better & ~take & (state.step / 4 < LEAST_STEP)
    step = jnp.where(better, 2 * state.step, jnp.where(take, state.accepted, state.step / 4))
    return state._replace(
        gradient=jnp.where(vain, 0.0, state.gradient),
        bracket=Bracket(jnp.where(better, 0.0, state.bracket.lower), state.bracket.upper),
        shrink=jnp.where(better, COARSE, state.shrink),
        step=jnp.where(vain, step_size, step),
        accepted=jnp.where(better, state.step, state.accepted),
        phase=jnp.where(better, SHRINKING, jnp.where(take, REFINING, jnp.where(vain, PROBING, STEPPING))),
    )


def _refined(
    norm: Norm, tolerance: float, state: SignOPTState, queried: Float[Array, "h w c"], fooled: Bool[Array, ""]
) -> SignOPTState:
    """Search the radius of the best start or step to the tolerance; then that ray is θ, to be probed.

    Where the ray was clipped to the box, θ is the clipped one, and its radius the shorter distance.
    """
    radius, ray = _inwards(state), through(norm, queried, state.closest.clean)
    lower, upper = narrowed(state.bracket, radius, fooled)
    done = is_narrow(Bracket(lower, upper), tolerance)
    shorter = jnp.where(done, ray.length / jnp.maximum(radius, 1e-12), 1.0)
    return state._replace(
        ray=jax.tree.map(partial(jnp.where, done), ray, state.ray),
        gradient=jnp.where(done, 0.0, state.gradient),
        bracket=Bracket(shorter * lower, shorter * upper),
        shrink=2 * state.shrink,
        accepted=jnp.where(done, 0.0, state.accepted),
        phase=jnp.where(done, PROBING, REFINING),
    )


def _probed(
    scale: float, over: Bool[Array, ""], state: SignOPTState, queried: Float[Array, "h w c"], fooled: Bool[Array, ""]
) -> SignOPTState:
    """Add u with the sign of its slope, negative where the probe is adversarial; `over` after the last of them.

    scale: β times the root of their number, which brings a sum of nearly orthogonal u to about length 1.
    """
    radius = state.bracket.upper
    moved = queried - along(state.closest.clean, state.ray, radius)
    signed = jnp.where(fooled, -moved, moved) / jnp.maximum(scale * radius, 1e-12)
    return state._replace(
        gradient=state.gradient + signed,
        phase=jnp.where(over, STEPPING, PROBING),
        probed=jnp.where(over, 0, state.probed + 1),
    )
