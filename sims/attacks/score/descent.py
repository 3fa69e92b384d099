"""Zeroth-order descent: step along a gradient estimate inside the ball, the frame of NES, SPSA, RGF and the ZO methods.

A step has two phases: query the probes of one gradient estimate, update and project; then query the new candidate
alone. A candidate that was never queried, because the budget ended before it, is not what the attack reports. An
estimator whose baseline is the current point is given the answer of that check, so no image is queried
twice; its first query is the clean image, and baseline and probes are two asks, of which an oracle that draws once
per ask makes two draws. Every query is a valid image: probes are clipped to the box, which damps the estimate at
saturated pixels; the clipped displacement is the one that is combined.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from sims.attacks.attack import Attack, Queries, Report, Threat
from sims.attacks.ball import Norm, check_ball, project
from sims.attacks.estimators.estimator import GradientEstimator
from sims.victims.oracle import Answer


class DescentState(NamedTuple):
    """clean, image: (h, w, c); checked: (h, w, c) the image queried last, value: () its loss then.

    rule: state of the optax rule; probing: () bool, which phase comes next.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    checked: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]
    rule: Any
    probing: Bool[Array, ""]


def descent(name: str, threat: Threat, estimator: GradientEstimator, rule: optax.GradientTransformation) -> Attack:
    """Descend with any estimator and any optax update rule.

    A step costs queries_per_estimate + 1 queries, or queries_per_estimate where the estimator's baseline is the
    current point. Raises ValueError for a radius that is not finite.
    """
    check_ball(threat.epsilon)
    known = int(estimator.baseline_first)  # points whose answer the last check has given
    width = estimator.queries_per_estimate - known

    def init(key, image, start):
        unknown = jnp.array(jnp.inf, jnp.float32)
        return DescentState(image, image, image, jnp.array(False), unknown, rule.init(image), jnp.array(not known))

    def ask(key, state):
        images = jax.lax.cond(state.probing, probes, candidate, key, state.image)
        return Queries(images, state.probing | (jnp.arange(width) == 0))

    def probes(key, image):
        points = estimator.points(image, estimator.directions(key, image.shape))
        return jnp.clip(points[known:], 0, 1)

    def candidate(key, image):
        return jnp.zeros((width, *image.shape)).at[0].set(image)

    def estimate(state, queries, answers):
        points = jnp.concatenate([state.image[None][:known], queries.images])
        return estimator.combine(points, jnp.concatenate([state.value[None][:known], answers.value]))

    def tell(state, queries, answers):
        updates, rule_state = rule.update(estimate(state, queries, answers), state.rule, state.image)
        stepped: Any = optax.apply_updates(state.image, updates)
        moved = project(threat.norm, stepped, state.clean, threat.epsilon)
        return phase_ended(state, answers, state._replace(image=moved, rule=rule_state))

    return Attack(name, "loss", width, init, ask, tell, last_checked)


def phase_ended(state: Any, answers: Answer, moved: Any) -> Any:
    """The state after the probes, `moved`, or after the check; it has the fields image, probing and of the report."""
    probed = moved._replace(success=jnp.array(False), probing=jnp.array(False))
    checked = state._replace(
        checked=state.image, success=answers.fooled[0], value=answers.value[0], probing=jnp.array(True)
    )
    return optax.tree_utils.tree_where(state.probing, probed, checked)


def last_checked(state: Any) -> Report:
    """The report of a state that has the fields checked, success and value."""
    return Report(state.checked, state.success, state.value)


def steepest(norm: Norm, step_size: float) -> optax.GradientTransformation:
    """The step of the published attacks: the sign of the gradient (ℓ∞) or the gradient at unit length (ℓ2).

    step_size: pixel units, > 0.
    """
    if norm == "linf":
        return optax.sign_sgd(step_size)
    return optax.chain(optax.normalize_by_update_norm(), optax.sgd(step_size))


def per_pixel(norm: Norm, step_size: float) -> optax.GradientTransformation:
    """Descend by updates of which every pixel's is about ±1, as the sign and Adam's are.

    step_size: pixel units, > 0: what a pixel moves by (ℓ∞), or the image, by moving every pixel (ℓ2).
    """

    def scaled(updates, params):
        return jax.tree.map(lambda u: -step_size * u / (1 if norm == "linf" else math.sqrt(u.size)), updates)

    return optax.stateless(scaled)


def check_step_fraction(step_fraction: float) -> None:
    """Raise ValueError unless a step is longer than nothing and at most the ball's radius."""
    if not 0 < step_fraction <= 1:
        raise ValueError(f"step_fraction must be in (0, 1], got {step_fraction}")
