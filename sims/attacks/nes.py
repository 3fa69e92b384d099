"""NES: descend a zeroth-order gradient estimate inside the ball (Ilyas et al. 2018).

A step has two phases: query the probes of one gradient estimate, update and project; then query the new candidate
alone. Every query is a valid image: probes are clipped to the box, which damps the estimate at saturated pixels
(THEORY E9); the clipped displacement is the one that is combined.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from sims.attacks.attack import Attack, Queries
from sims.attacks.ball import Norm, check_ball, project
from sims.estimators.estimator import GradientEstimator


class NESState(NamedTuple):
    """clean, image: (h, w, c); rule: state of the optax rule; probing: () bool, which phase comes next."""

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    rule: Any
    probing: Bool[Array, ""]


def nes(norm: Norm, epsilon: float, estimator: GradientEstimator, rule: optax.GradientTransformation) -> Attack:
    """NES with any estimator and any optax update rule; queries_per_estimate + 1 queries a step.

    epsilon: radius of the ball, pixel units, > 0. Raises ValueError for a bad norm or radius.
    """
    check_ball(norm, epsilon)
    width = estimator.queries_per_estimate

    def init(key, image, label):
        return NESState(image, image, jnp.array(False), rule.init(image), jnp.array(True))

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
        moved = project(norm, optax.apply_updates(state.image, updates), state.clean, epsilon)  # pyright: ignore[reportArgumentType]
        probed = NESState(state.clean, moved, jnp.array(False), rule_state, jnp.array(False))
        checked = state._replace(success=answers.fooled[0], probing=jnp.array(True))
        return optax.tree_utils.tree_where(state.probing, probed, checked)

    return Attack(f"nes-{norm}", "loss", width, init, ask, tell)


def default_rule(norm: Norm, step_size: float) -> optax.GradientTransformation:
    """The step of the published attacks: the sign of the gradient (ℓ∞) or the gradient at unit length (ℓ2).

    step_size: pixel units, > 0, else ValueError.
    """
    if not 0 < step_size < float("inf"):
        raise ValueError(f"step_size must be > 0 and finite, got {step_size}")
    if norm == "linf":
        return optax.sign_sgd(step_size)
    return optax.chain(optax.normalize_by_update_norm(), optax.sgd(step_size))
