"""What the decision attacks share: a first adversarial image, and the closest one found.

They see labels only. Each begins at an image that is already adversarial and walks towards the clean one; with a
finite ε an image leaves as soon as an adversarial one within ε has been queried, with ε = inf the distance is lowered
until the budget is spent.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from sims.attacks.attack import Attack, Report, Threat
from sims.attacks.ball import distance

OPENINGS = 100  # images tried as a start before an attack gives up


class Closest(NamedTuple):
    """clean: (h, w, c). image: (h, w, c), the closest adversarial image, the clean one before any.

    distance: () from clean to it, inf before any. hit: () bool, the image queried last is it and lies within ε.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    distance: Float[Array, ""]
    hit: Bool[Array, ""]


def none_yet(clean: Float[Array, "h w c"]) -> Closest:
    """Before any adversarial image."""
    return Closest(clean, clean, jnp.array(jnp.inf, jnp.float32), jnp.array(False))


def remember(threat: Threat, closest: Closest, queried: Float[Array, "h w c"], fooled: Bool[Array, ""]) -> Closest:
    """The closest adversarial image after one more answer."""
    length = distance(threat.norm, queried, closest.clean)
    better = fooled & (length < closest.distance)
    image = jnp.where(better, queried, closest.image)
    return Closest(
        closest.clean, image, jnp.where(better, length, closest.distance), better & (length <= threat.epsilon)
    )


def report_of(threat: Threat, closest: Closest) -> Report:
    """The closest adversarial image where it lies in the ball, else the clean one; the distance as the value."""
    inside = closest.distance <= threat.epsilon
    image = jnp.where(inside & jnp.isfinite(closest.distance), closest.image, closest.clean)
    success = jnp.isfinite(closest.distance) if minimizes(threat) else closest.hit
    return Report(image, success, closest.distance)


def minimizes(threat: Threat) -> bool:
    """Whether the attack lowers the distance until the budget is spent, having no ball to reach."""
    return threat.epsilon == float("inf")


def opening(
    key: Key[Array, ""], start: Float[Array, "h w c"], tried: Int[Array, ""]
) -> tuple[Float[Array, "h w c"], Bool[Array, ""]]:
    """The image to try as a start, and whether to try on: first the one given, then uniform noise."""
    noise = jax.random.uniform(key, start.shape)
    return jnp.where(tried == 0, start, noise), tried < OPENINGS


def decision_attack(name: str, threat: Threat, init, ask, tell) -> Attack:
    """The record of a decision attack of one row a step, whose state has the field `closest`."""

    def report(state):
        return report_of(threat, state.closest)

    return Attack(f"{name}-{threat.norm}", "label", 1, init, ask, tell, report, minimizes(threat))
