"""Auto-PGD: descent with momentum whose step halves where it stops paying (Croce & Hein 2020, Algorithm 1).

The step begins at 2ε. At checkpoints, ever closer together, it is halved when fewer than a share ρ of the steps since
the last one lowered the loss, or when the best loss did not move and the step was not halved there either; the descent
then goes on from the best point. steps + 1 evaluations. One file for the three losses of the paper.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from optax.tree_utils import tree_where

from defenses.options.ranges import check_at_most, check_counts
from sims.attacks.attack import Attack, Threat
from sims.attacks.ball import Norm, check_ball, project, unit
from sims.attacks.method import Method
from sims.white_box.incumbent import Incumbent, begin, better, one_query, random_start, report
from sims.white_box.losses import cross_entropy, dlr, dlr_targeted

FIRST_WINDOW, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # steps between checkpoints, as shares of all steps
INERTIA = 0.25  # share of the last move in the next one
SOURCE = "Croce & Hein (2020); all settings as published"


@dataclass(frozen=True)
class Apgd:
    """Settings of APGD."""

    steps: int = 100
    """Gradient steps, >= 1."""
    rho: float = 0.75
    """Share of steps that must lower the loss for the step size to stay, in (0, 1)."""


@dataclass(frozen=True)
class ApgdTargeted(Apgd):
    """Settings of targeted APGD."""

    rivals: int = 9
    """The most likely other classes of the clean image, tried one after the other, from 1 to 1000."""

    def __post_init__(self) -> None:
        """Raise ValueError without a rival: there would be no run at all."""
        check_counts(self, rivals=1)
        check_at_most(self, rivals=1000)


class Point(NamedTuple):
    """An evaluated image (h, w, c), its loss () and the gradient (h, w, c)."""

    image: Float[Array, "h w c"]
    loss: Float[Array, ""]
    gradient: Float[Array, "h w c"]


class Window(NamedTuple):
    """The steps since the last checkpoint.

    length: () steps until the next. taken, lowered: () steps so far, and those that lowered the loss.
    halved: () bool, the step was halved at the last checkpoint. best: () the best loss then.
    """

    length: Int[Array, ""]
    taken: Int[Array, ""]
    lowered: Int[Array, ""]
    halved: Bool[Array, ""]
    best: Float[Array, ""]


class ApgdState(NamedTuple):
    """clean, image, previous: (h, w, c), image the next iterate, previous the last one, or the best where it went on.

    evaluated: () int. loss: () of the last iterate. best: lowest loss. step: () step size, pixel units.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    previous: Float[Array, "h w c"]
    evaluated: Int[Array, ""]
    loss: Float[Array, ""]
    best: Point
    step: Float[Array, ""]
    window: Window
    incumbent: Incumbent


def apgd(threat: Threat, settings: Apgd) -> Attack:
    """Raises ValueError for a setting outside its range or a radius that is not finite."""
    check_counts(settings, steps=1)
    if not 0 < settings.rho < 1:
        raise ValueError(f"rho must be in (0, 1), got {settings.rho}")
    check_ball(threat.epsilon)
    norm, epsilon, lengths = threat.norm, threat.epsilon, window_lengths(settings.steps)

    def init(key, image, start):
        unknown = jnp.array(jnp.inf, jnp.float32)
        window = Window(jnp.int32(lengths[0]), jnp.int32(0), jnp.int32(0), jnp.array(True), unknown)
        best, step = Point(image, unknown, jnp.zeros_like(image)), jnp.float32(2 * epsilon)
        return ApgdState(image, image, image, jnp.int32(0), unknown, best, step, window, begin(image))

    def ask(key, state):
        first = random_start(key, norm, state.clean, epsilon)
        return one_query(jnp.where(state.evaluated > 0, state.image, first))

    def tell(state, queries, answers):
        here = Point(queries.images[0], answers.value.loss[0], answers.value.gradient[0])
        first = state.evaluated == 0
        best = tree_where(here.loss < state.best.loss, here, state.best)
        window = state.window._replace(
            taken=state.window.taken + ~first,
            lowered=state.window.lowered + (~first & (here.loss < state.loss)),
            best=jnp.where(first, here.loss, state.window.best),
        )
        window, halve = checkpoint(window, best.loss, settings.rho, lengths)
        step = jnp.where(halve, state.step / 2, state.step)
        point = tree_where(halve, best, here)
        inertia = jnp.where(first, 0.0, INERTIA)
        moved = _moved(norm, epsilon, state.clean, point, jnp.where(first, here.image, state.previous), step, inertia)
        incumbent = better(state.incumbent, here.image, answers)
        evaluated = state.evaluated + 1
        return ApgdState(state.clean, moved, point.image, evaluated, here.loss, best, step, window, incumbent)

    return Attack("apgd", "gradient", 1, init, ask, tell, report)


def window_lengths(steps: int) -> tuple[int, int, int]:
    """Steps before the first checkpoint, by how many each later window is shorter, and the shortest."""
    first, shorter, shortest = (max(int(share * steps), 1) for share in (FIRST_WINDOW, SHORTER, SHORTEST))
    return first, shorter, shortest


def checkpoint(window: Window, best: Float[Array, ""], rho: float, lengths: tuple[int, int, int]):
    """The window after a step, and whether the step size is halved now."""
    _, shorter, shortest = lengths
    due = window.taken == window.length
    too_few = window.lowered < rho * window.length
    stuck = ~window.halved & (best >= window.best)
    halve = due & (too_few | stuck)
    zero = jnp.int32(0)
    fresh = Window(jnp.maximum(window.length - shorter, shortest), zero, zero, halve, best)
    return tree_where(due, fresh, window), halve


def _moved(norm: Norm, epsilon: float, clean, point: Point, previous, step, inertia):
    """The next iterate: a projected gradient step, mixed with the last move."""
    stepped = project(norm, point.image - step * unit(norm, point.gradient), clean, epsilon)
    mixed = point.image + (1 - inertia) * (stepped - point.image) + inertia * (point.image - previous)
    return project(norm, mixed, clean, epsilon)


def _evaluations(settings: Apgd) -> int:
    return settings.steps + 1


_method = partial(
    Method,
    build=apgd,
    feedback="gradient",
    norms=("linf", "l2"),
    queries_per_step="1",
    evaluations=_evaluations,
    source=SOURCE,
)
CE = _method(settings=Apgd, loss=cross_entropy)
DLR = _method(settings=Apgd, loss=dlr)
DLR_TARGETED = _method(settings=ApgdTargeted, loss=dlr_targeted, rivals=lambda settings: settings.rivals)
