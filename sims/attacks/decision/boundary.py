"""Boundary attack: a walk along the decision boundary by what is still adversarial (Brendel et al. 2018), ℓ2.

It begins on the boundary, between the clean image and an adversarial one. A trial is a random step on the sphere
around the clean image, and then, if that is still adversarial, a step from there towards the clean image; the walk
moves on where this is adversarial too. Both steps have lengths that follow their rates of success: each answer
multiplies them by adaptation^(success − rate), so that they rest where the share of successes is the rate.

Directions are random signs: as isotropic as the sphere of the paper up to O(1/d), at a twentieth of the cost.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.decision.closest import Closest, asks_on, decision_attack, none_yet, opening, remember
from sims.attacks.estimators.directions import rademacher
from sims.attacks.method import Method
from sims.attacks.score.segment import middle, narrowed, point

OPENING, BISECTING, TURNING, APPROACHING = range(4)
BISECTIONS = 10  # between the clean image and the opening
SPHERICAL_RATE, SOURCE_RATE = 0.4, 0.5  # shares of successes at which the lengths rest, tuned on a half-space
LONGEST_SPHERICAL, LONGEST_SOURCE, SHORTEST = 1.0, 0.5, 1e-6


@dataclass(frozen=True)
class Boundary:
    """Settings of Boundary."""

    spherical_step: float = 0.01
    """First length of the step on the sphere, in units of its radius, in [1e-6, 1]."""
    source_step: float = 0.01
    """First length of the step towards the clean image, in units of the distance, in [1e-6, 0.5]."""
    adaptation: float = 1.5
    """Factor by which the lengths follow the answers, > 1."""

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        for name, most in (("spherical_step", LONGEST_SPHERICAL), ("source_step", LONGEST_SOURCE)):
            if not SHORTEST <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in [{SHORTEST:g}, {most:g}], got {getattr(self, name)}")
        if not 1 < self.adaptation < float("inf"):
            raise ValueError(f"adaptation must be > 1 and finite, got {self.adaptation}")


class BoundaryState(NamedTuple):
    """The walk stands at the closest adversarial image.

    turned: (h, w, c), the image after the step on the sphere; the start while opening. phase: () one of the four.
    count: () queries of this phase. low: () see `segment`. spherical_step, source_step: () their lengths now.
    """

    closest: Closest
    turned: Float[Array, "h w c"]
    phase: Int[Array, ""]
    count: Int[Array, ""]
    low: Float[Array, ""]
    spherical_step: Float[Array, ""]
    source_step: Float[Array, ""]


def boundary(threat: Threat, settings: Boundary) -> Attack:
    """The walk, with one query a step."""

    def init(key, image, start):
        lengths = jnp.float32(settings.spherical_step), jnp.float32(settings.source_step)
        return BoundaryState(none_yet(image), start, jnp.int32(OPENING), jnp.int32(0), jnp.float32(0), *lengths)

    def ask(key, state):
        clean, here, radius, _ = state.closest
        first, trying = opening(key, state.turned, state.count)
        halfway = point("l2", clean, here, radius, middle(state.low))
        turned = on_sphere(state.closest, state.spherical_step, rademacher(key, 1, clean.shape)[0])
        nearer = point("l2", clean, state.turned, radius, 1 - state.source_step)
        image = jnp.select([state.phase == phase for phase in range(3)], [first, halfway, turned], nearer)
        needed = asks_on(threat, state.closest) & (trying | (state.phase != OPENING))
        return Queries(jnp.clip(image, 0, 1)[None], needed[None])

    def tell(state, queries, answers):
        queried, fooled = queries.images[0], answers.fooled[0]
        closest = remember(threat, state.closest, queried, fooled)
        found = fooled & (closest.distance > 0)
        ended = state.count + 1 >= BISECTIONS
        phases = [state.phase == phase for phase in range(3)]
        after = [jnp.where(found, BISECTING, OPENING), jnp.where(ended, TURNING, BISECTING), TURNING + fooled]
        phase = jnp.select(phases, after, jnp.int32(TURNING))
        turning, walking = state.phase == TURNING, state.phase >= TURNING
        factor = settings.adaptation ** (fooled - jnp.where(turning, SPHERICAL_RATE, SOURCE_RATE))
        spherical = jnp.clip(state.spherical_step * jnp.where(turning, factor, 1), SHORTEST, LONGEST_SPHERICAL)
        source = jnp.clip(state.source_step * jnp.where(walking, factor, 1), SHORTEST, LONGEST_SOURCE)
        return BoundaryState(
            closest,
            jnp.where(turning, queried, state.turned),
            phase,
            jnp.where(phase == state.phase, state.count + 1, 0),
            jnp.where(phases[BISECTING], narrowed(state.low, fooled), state.low),
            spherical,
            source,
        )

    return decision_attack("boundary", threat, init, ask, tell)


METHOD = Method(
    Boundary,
    boundary,
    "label",
    ("l2",),
    "1",
    "Brendel et al. 2018, arXiv 1712.04248; first steps and adaptation as in the authors' public code",
)


def on_sphere(closest: Closest, step: Float[Array, ""], signs: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """The closest image moved by `step` times its distance along the tangent, and pulled back to that distance.

    The tangent is what the d signs leave orthogonal to the way from the clean image; its length follows from theirs.
    """
    clean, here, radius, _ = closest
    square = jnp.maximum(radius**2, 1e-24)
    along = jnp.sum(signs * here - signs * clean) / square  # not signs * (here - clean): XLA's sum of that is slow
    stretch = step * jnp.sqrt(square / jnp.maximum(signs.size - along**2 * square, 1e-12))
    return clean + ((1 - stretch * along) * (here - clean) + stretch * signs) / jnp.sqrt(1 + step**2)
