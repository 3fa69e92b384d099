"""Local Lipschitz constants of networks by power iteration on Jacobians: estimates from below, near given points.

L₀ of a map is the largest norm of its Jacobian J, reached by power iteration on JᵀJ; L₁ of a function is the largest
norm of its Hessian H, reached by power iteration on H. Both are maxima over a finite cloud of points and finitely many
steps, hence never more than the constants they estimate. They look inside the victim: they feed predictions, and are
never open to an attack. Steps are called from the host: backward convolutions inside a loop of XLA are slow on a CPU.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from defenses.defense import Defense
from defenses.model import Model
from defenses.purifiers.pools.family import PurifierFamily, member
from sims.victims.losses import log_likelihood, margin_loss

STEPS = 30  # of the power iteration
BATCH = 64  # points in one pass

Function = Callable[[PyTree, Float[Array, "*shape"]], Array]
Points = Float[np.ndarray, "n *shape"]


def jacobian_norms(function: Function, params: PyTree, points: Points) -> Float[np.ndarray, " n"]:
    """‖J(x)‖₂ of the map (params, x) -> array of any shape at every point, from below."""

    def step(params, x, direction):
        pushed = jax.jvp(partial(function, params), (x,), (direction,))[1]
        (pulled,) = jax.vjp(partial(function, params), x)[1](pushed)
        return pulled, jnp.linalg.norm(pushed)

    return _iterated(step, params, points)


def hessian_norms(function: Function, params: PyTree, points: Points) -> Float[np.ndarray, " n"]:
    """‖∇²f(x)‖₂ of the twice differentiable function (params, x) -> number at every point, from below."""

    def step(params, x, direction):
        product = jax.jvp(jax.grad(partial(function, params)), (x,), (direction,))[1]
        return product, jnp.linalg.norm(product)

    return _iterated(step, params, points)


def margin_slope(model: Model, points: Points, label: int) -> float:
    """L₀ of the margin of `label` over the cloud (n, h, w, c): its largest gradient norm there."""

    def margin(params, x):
        return margin_loss(_scores(model, params, x), jnp.array([label]))[0]

    gradients = jax.jit(jax.vmap(jax.grad(margin, argnums=1), (None, 0)))
    parts = [gradients(model.params, part) for part in _batches(points)]
    return float(max(jnp.sqrt((part**2).sum(axis=(1, 2, 3))).max() for part in parts))


def likelihood_curvature(model: Model, points: Points, label: int) -> float:
    """L₁ of the log-likelihood of `label` over the cloud, of a network that is smooth.

    The margin has no L₁ even on a smooth network: its gradient jumps where the runner-up changes.
    """

    def likelihood(params, x):
        return log_likelihood(_scores(model, params, x), jnp.array([label]))[0]

    return float(hessian_norms(likelihood, model.params, points).max())


def pool_slope(family: PurifierFamily, points: Points) -> float:
    """L₀ of a family's members over the cloud: the largest norm of any member's Jacobian."""
    alone = [member(family, k) for k in range(family.size)]
    return max(float(jacobian_norms(partial(_purified, one), one.params, points).max()) for one in alone)


def _scores(model: Model, params: PyTree, x: Array) -> Array:
    """(1, classes) scores of one image by a model without randomness."""
    return model.scores(params, jax.random.key(0)[None], x[None])


def _purified(purifier: Defense, params: PyTree, x: Array) -> Array:
    return purifier.apply(params, jax.random.key(0)[None], x[None])[0]


def _iterated(step, params: PyTree, points: Points) -> Float[np.ndarray, " n"]:
    """Norms after `STEPS` steps (params, x, direction) -> (next direction, norm), from random directions."""
    each = jax.jit(jax.vmap(step, (None, 0, 0)))
    found = []
    for part in _batches(points):
        direction, norms = jax.random.normal(jax.random.key(0), part.shape), None
        for _ in range(STEPS):
            direction, norms = each(params, part, _unit(direction))
        found.append(np.asarray(norms))
    return np.concatenate(found)[: len(points)]


def _batches(points: Points) -> list[Array]:
    """The points in batches of one size, the last filled up with its last point."""
    size = min(BATCH, len(points))
    rows = np.minimum(np.arange(-(-len(points) // size) * size), len(points) - 1)
    return [jnp.asarray(points[part]) for part in np.split(rows, len(rows) // size)]


def _unit(directions: Array) -> Array:
    axes = tuple(range(1, directions.ndim))
    norms = jnp.sqrt((directions**2).sum(axis=axes, keepdims=True))
    return directions / jnp.maximum(norms, jnp.finfo(directions.dtype).tiny)
