"""Rays from the clean image: their points, and the search for the radius at which they turn adversarial."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sims.attacks.attack import Threat
from sims.attacks.ball import Norm
from sims.attacks.decision.closest import OPENINGS, Closest, asks_on, distance_of

RESOLUTION = 1e-6  # of a radius in float32: a bracket narrower than this share of it cannot be halved


class Ray(NamedTuple):
    """direction: (h, w, c) of any length. length: () in the norm of the threat."""

    direction: Float[Array, "h w c"]
    length: Float[Array, ""]


class Bracket(NamedTuple):
    """Two radii of one ray, pixel units: at `lower` it was not adversarial, or that is 0; at `upper` it was."""

    lower: Float[Array, ""]
    upper: Float[Array, ""]


def through(norm: Norm, image: Float[Array, "h w c"], clean: Float[Array, "h w c"]) -> Ray:
    """The ray from the clean image through another one."""
    return Ray(image - clean, distance_of(norm, image, clean))


def along(clean: Float[Array, "h w c"], ray: Ray, radius: Float[Array, ""]) -> Float[Array, "h w c"]:
    """The point of the ray at that radius, clipped to the box."""
    return jnp.clip(clean + radius / jnp.maximum(ray.length, 1e-12) * ray.direction, 0, 1)


def middle(bracket: Bracket) -> Float[Array, ""]:
    """The radius a bisection asks next."""
    return (bracket.lower + bracket.upper) / 2


def narrowed(bracket: Bracket, radius: Float[Array, ""], fooled: Bool[Array, ""]) -> Bracket:
    """The bracket after the answer at a radius inside."""
    return Bracket(jnp.where(fooled, bracket.lower, radius), jnp.where(fooled, radius, bracket.upper))


def is_narrow(bracket: Bracket, tolerance: Float[Array, ""] | float) -> Bool[Array, ""]:
    """Whether the bracket is as narrow as `tolerance`, pixel units, or as float32 lets it be.

    Every answer halves a bracket, so that a bisection ends whatever a random victim says.
    """
    return bracket.upper - bracket.lower <= jnp.maximum(tolerance, RESOLUTION * bracket.upper)


def may_improve(threat: Threat, closest: Closest, tried: Int[Array, ""]) -> Bool[Array, ""]:
    """Whether to ask on: not where `OPENINGS` images were tried in vain, nor where nothing is left to find."""
    return (found(closest) | (tried < OPENINGS)) & asks_on(threat, closest)


def found(closest: Closest) -> Bool[Array, ""]:
    """Whether an adversarial image other than the clean one is known."""
    return jnp.isfinite(closest.distance) & (closest.distance > 0)


def of_phase(phase: Int[Array, ""], *states: Any) -> Any:
    """The state of that number."""
    *earlier, chosen = states
    for i, state in enumerate(earlier):
        chosen = jax.tree.map(partial(jnp.where, phase == i), state, chosen)
    return chosen
