"""The image of a white-box attack that stands so far, and where an attack begins."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from sims.attacks.attack import Attack, Queries, Report
from sims.attacks.ball import Norm, project
from sims.victims.oracle import Answer


class Incumbent(NamedTuple):
    """The best image so far; by `newest`, the last.

    image: (h, w, c). success: () bool, it fooled the victim. value: () float32, its loss; inf before the first.
    """

    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]


def begin(image: Float[Array, "h w c"]) -> Incumbent:
    """Before the first answer: the clean image."""
    return Incumbent(image, jnp.array(False), jnp.array(jnp.inf, jnp.float32))


def one_query(image: Float[Array, "h w c"]) -> Queries:
    """That image alone."""
    return Queries(image[None], jnp.array([True]))


def better(incumbent: Incumbent, image: Float[Array, "h w c"], answers: Answer) -> Incumbent:
    """The incumbent, or the image just answered: one that fools goes before one that does not, then the lower loss."""
    fooled, loss = answers.fooled[0], answers.value.loss[0]
    wins = (fooled & ~incumbent.success) | ((fooled == incumbent.success) & (loss < incumbent.value))
    return jax.tree.map(lambda new, old: jnp.where(wins, new, old), Incumbent(image, fooled, loss), incumbent)


def newest(attack: Attack) -> Attack:
    """The attack on a random victim: the image answered last stands, since the best of noisy losses is half luck.

    attack: of states with the field incumbent.
    """

    def tell(state, queries, answers):
        last = Incumbent(queries.images[0], answers.fooled[0], answers.value.loss[0])
        return attack.tell(state, queries, answers)._replace(incumbent=last)

    return attack._replace(tell=tell)


def report(state) -> Report:
    """The report of a state that has the field incumbent."""
    return Report(*state.incumbent)


def random_start(key: Key[Array, ""], norm: Norm, clean: Float[Array, "h w c"], epsilon: float):
    """A point of the ball around `clean`, uniform, and then of the box."""
    if norm == "linf":
        return project(
            norm, clean + jax.random.uniform(key, clean.shape, minval=-epsilon, maxval=epsilon), clean, epsilon
        )
    directions, radius = jax.random.split(key)
    normal = jax.random.normal(directions, clean.shape)
    length = epsilon * jax.random.uniform(radius) ** (1 / clean.size)
    return project(norm, clean + length * normal / jnp.sqrt(jnp.sum(normal**2)), clean, epsilon)
