"""GeoDA: take the boundary for a plane, whose normal is estimated from labels (Rahmati et al. 2020), ℓ2 and ℓ∞.

A round probes the boundary image with random low frequencies: the sum of the probes, each with the sign of its answer,
points along the normal. From the clean image it then grows along the normal (ℓ2) or its signs (ℓ∞) until adversarial,
and bisects to the boundary, where the next round probes. The probes of all rounds add up.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from defenses.options.ranges import check_counts, check_positive, check_shares
from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.ball import Norm, distance
from sims.attacks.decision.closest import Closest, decision_attack, none_yet, remember
from sims.attacks.decision.ray_search import (
    Bracket,
    Ray,
    along,
    is_narrow,
    may_improve,
    middle,
    narrowed,
    of_phase,
    through,
)
from sims.attacks.estimators.directions import rademacher
from sims.attacks.method import Method
from sims.attacks.score.frequencies import from_frequencies

OPENING, GROWING, BISECTING, PROBING = range(4)
OPENING_STEP = 0.02  # by which the noise of the openings grows, pixel units
GROWTH = 1.5  # of the radius while the ray is not adversarial


@dataclass(frozen=True)
class GeoDA:
    """Settings of GeoDA."""

    frequency_share: float = 0.33
    """Share of the frequencies of each side of the image that are probed, the lowest, in (0, 1]; 75 of 224."""
    smoothing_radius: float = 0.0002
    """σ, the standard deviation of a probe along each frequency, pixel units, > 0."""
    decay: float = 0.6
    """λ in (0, 1]: the probes of a round grow by λ^(-2/3) from round to round."""
    first_probes: int = 80
    """The most probes of the first round, >= 1; there are as few rounds as that allows."""
    tolerance: float = 0.0001
    """Where a bisection ends, pixel units, > 0."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_shares(self, "frequency_share", "decay")
        check_positive(self, "smoothing_radius", "tolerance")
        check_counts(self, first_probes=1)


class GeoDAState(NamedTuple):
    """ray, bracket: the ray in hand and its radii; the boundary is at the upper one.

    normal: (h, w, c) sum of the signed probes. phase: () one of the four. tried: () openings.
    round: () rounds over. probed: () probes of this round. asked: () queries.
    """

    closest: Closest
    ray: Ray
    bracket: Bracket
    normal: Float[Array, "h w c"]
    phase: Int[Array, ""]
    tried: Int[Array, ""]
    round: Int[Array, ""]
    probed: Int[Array, ""]
    asked: Int[Array, ""]


class Rounds(NamedTuple):
    """shares: probes of each round. last_ask: the query count at which the last round ends, to leave its bisection."""

    shares: tuple[int, ...]
    last_ask: int


def geoda(threat: Threat, settings: GeoDA) -> Attack:
    """GeoDA; the budget is shared out among the rounds as published, and the last round probes with what is left."""
    norm, sigma = threat.norm, settings.smoothing_radius
    rounds = shared_out(threat.query_budget, settings)

    def init(key, image, start):
        zero, ray = jnp.int32(0), through(norm, start, image)
        bracket, normal = Bracket(jnp.zeros_like(ray.length), ray.length), jnp.zeros_like(ray.direction)
        return GeoDAState(none_yet(image), ray, bracket, normal, jnp.int32(OPENING), zero, zero, zero, zero)

    def ask(key, state):
        clean, shape = state.closest.clean, state.closest.clean.shape
        noise, low = drawn(key, shape, settings.frequency_share)
        radius = jnp.where(state.phase == BISECTING, middle(state.bracket), state.bracket.upper)
        image = along(clean, state.ray, radius)
        image = jnp.where(state.phase == PROBING, image + sigma * low, image)
        opening = (state.phase == OPENING) & (state.tried > 0)
        image = jnp.where(opening, clean + OPENING_STEP * state.tried * noise, image)
        return Queries(jnp.clip(image, 0, 1)[None], may_improve(threat, state.closest, state.tried)[None])

    def tell(state, queries, answers):
        queried, fooled = queries.images[0], answers.fooled[0]
        closest = remember(threat, state.closest, queried, fooled)
        state = state._replace(closest=closest, asked=state.asked + 1)
        return of_phase(
            state.phase,
            _opened(norm, state, queried, fooled),
            _grown(norm, state, fooled),
            _bisected(settings.tolerance, state, fooled),
            _probed(norm, rounds, state, queried, fooled),
        )

    return decision_attack("geoda", threat, init, ask, tell)


METHOD = Method(
    GeoDA,
    geoda,
    "label",
    ("linf", "l2"),
    "1",
    "Rahmati et al. 2020, arXiv 2003.06468; openings and rounds as in the authors' code",
)


def shared_out(query_budget: int, settings: GeoDA) -> Rounds:
    """The rounds of a budget: as few as leave the first at most `first_probes`, each λ^(-2/3) times the one before.

    Beside the probes every round, and the opening, has the queries of a bisection.
    """
    bisection = max(math.ceil(math.log2(1 / settings.tolerance)), 0) + 2
    growth, count = settings.decay ** (-2 / 3), 0
    first = math.inf
    while first > settings.first_probes:
        count += 1
        probes = max(query_budget - (count + 1) * bisection, 0)
        first = probes / sum(growth**i for i in range(count))
    return Rounds(tuple(max(1, round(first * growth**i)) for i in range(count)), query_budget - bisection)


def drawn(key: Key[Array, ""], shape: tuple[int, ...], share: float) -> tuple[Float[Array, "h w c"], ...]:
    """Random signs for an image of that shape (h, w, c), and one of the lowest frequencies, variance 1 in each.

    Both come from the same signs, since no step needs both: the sum of eight is nearly normal, and cheap.
    """
    low = (*(max(1, round(share * side)) for side in shape[:2]), shape[2])
    image_size, low_size = math.prod(shape), math.prod(low)
    signs = rademacher(key, 1, (max(image_size, 8 * low_size),))[0]
    coefficients = signs[: 8 * low_size].reshape(8, *low).sum(axis=0) / math.sqrt(8)
    return signs[:image_size].reshape(shape), from_frequencies(coefficients, shape)


def _opened(norm: Norm, state: GeoDAState, queried: Float[Array, "h w c"], fooled: Bool[Array, ""]) -> GeoDAState:
    """Bisect the line to the first adversarial image."""
    ray = through(norm, queried, state.closest.clean)
    return state._replace(
        ray=ray,
        bracket=Bracket(jnp.zeros_like(ray.length), ray.length),
        phase=jnp.where(fooled & (ray.length > 0), BISECTING, OPENING),
        tried=state.tried + 1,
    )


def _grown(norm: Norm, state: GeoDAState, fooled: Bool[Array, ""]) -> GeoDAState:
    """Go farther until adversarial; a ray that is not to the end of the box is left for the one to the closest."""
    lower, upper = state.bracket
    limit = 1.0 if norm == "linf" else math.sqrt(state.normal.size)
    lost = ~fooled & (upper >= limit)
    known = Ray(state.closest.image - state.closest.clean, state.closest.distance)
    farther = jnp.where(lost, state.closest.distance, jnp.minimum(GROWTH * upper, limit))
    return state._replace(
        ray=jax.tree.map(partial(jnp.where, lost), known, state.ray),
        bracket=Bracket(jnp.where(fooled, lower, upper), jnp.where(fooled, upper, farther)),
        phase=jnp.where(fooled, BISECTING, jnp.where(lost, PROBING, GROWING)),
    )


def _bisected(tolerance: float, state: GeoDAState, fooled: Bool[Array, ""]) -> GeoDAState:
    """Halve the bracket; probe at its upper end when it is narrow."""
    bracket = narrowed(state.bracket, middle(state.bracket), fooled)
    return state._replace(bracket=bracket, phase=jnp.where(is_narrow(bracket, tolerance), PROBING, BISECTING))


def _probed(
    norm: Norm, rounds: Rounds, state: GeoDAState, queried: Float[Array, "h w c"], fooled: Bool[Array, ""]
) -> GeoDAState:
    """Add one signed probe; at the end of the round turn the ray along the normal, as long as the closest image."""
    moved = queried - along(state.closest.clean, state.ray, state.bracket.upper)
    normal, count = state.normal + jnp.where(fooled, moved, -moved), state.probed + 1
    last = len(rounds.shares) - 1
    share = jnp.array(rounds.shares)[jnp.minimum(state.round, last)]
    over = jnp.where(state.round < last, count >= share, state.asked >= rounds.last_ask)
    turned = (
        Ray(jnp.sign(normal), jnp.float32(1)) if norm == "linf" else Ray(normal, distance("l2", normal, 0 * normal))
    )
    lower, upper = state.bracket
    return state._replace(
        ray=jax.tree.map(partial(jnp.where, over), turned, state.ray),
        bracket=Bracket(jnp.where(over, 0.0, lower), jnp.where(over, state.closest.distance, upper)),
        normal=normal,
        phase=jnp.where(over, GROWING, PROBING),
        round=state.round + over,
        probed=jnp.where(over, 0, count),
    )
