"""Zeroth-order descent: step along a gradient estimate inside the ball, the frame of NES, SPSA, RGF and ZO-SGD.

A step has two phases: query the probes of one gradient estimate, update and project; then query the new candidate
alone. Every query is a valid image: probes are clipped to the box, which damps the estimate at saturated pixels
(THEORY E9); the clipped displacement is the one that is combined.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.ball import Norm, check_ball, project
from sims.estimators.estimator import GradientEstimator


class DescentState(NamedTuple):
    """clean, image: (h, w, c); value: () the loss of the image when it was queried.

    rule: state of the optax rule; probing: () bool, which phase comes next.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]
    rule: Any
    probing: Bool[Array, ""]


def descent(name: str, threat: Threat, estimator: GradientEstimator, rule: optax.GradientTransformation) -> Attack:
    """Descend with any estimator and any optax update rule; queries_per_estimate + 1 queries a step.

    Raises ValueError for a radius that is not finite.
    """
    check_ball(threat.epsilon)
    width = estimator.queries_per_estimate

    def init(key, image, start):
        return DescentState(image, image, jnp.array(False), jnp.array(jnp.inf), rule.init(image), jnp.array(True))

    def ask(key, state):
        images = jax.lax.cond(state.probing, probes, candidate, key, state.image)
        return Queries(images, state.probing | (jnp.arange(width) == 0))

    def probes(key, image):
        return jnp.clip(estimator.points(image, estimator.directions(key, image.shape)), 0, 1)

    def candidate(key, image):
        return jnp.zeros((width, *image.shape)).at[0].set(image)

    def tell(state, queries, answers):
        gradient = estimator.combine(queries.images, answers.value)
        updates, rule_state = rule.update(gradient, state.rule, state.image)
        stepped: Any = optax.apply_updates(state.image, updates)
        moved = project(threat.norm, stepped, state.clean, threat.epsilon)
        probed = state._replace(image=moved, success=jnp.array(False), rule=rule_state, probing=jnp.array(False))
        checked = state._replace(success=answers.fooled[0], value=answers.value[0], probing=jnp.array(True))
        return optax.tree_utils.tree_where(state.probing, probed, checked)

    return Attack(name, "loss", width, init, ask, tell)


def steepest(norm: Norm, step_size: float) -> optax.GradientTransformation:
    """The step of the published attacks: the sign of the gradient (ℓ∞) or the gradient at unit length (ℓ2).

    step_size: pixel units, > 0.
    """
    if norm == "linf":
        return optax.sign_sgd(step_size)
    return optax.chain(optax.normalize_by_update_norm(), optax.sgd(step_size))


def check_step_fraction(step_fraction: float) -> None:
    """Raise ValueError unless a step is longer than nothing and at most the ball's radius."""
    if not 0 < step_fraction <= 1:
        raise ValueError(f"step_fraction must be in (0, 1], got {step_fraction}")
