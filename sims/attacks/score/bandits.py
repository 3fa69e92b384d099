"""Bandits-TD: a gradient that is carried from step to step, on a grid of tiles (Ilyas et al. 2019), ℓ∞ and ℓ2.

The prior v is a guess of the descent direction on a coarse grid, enlarged to the image by nearest neighbours. A step
queries the two probes x + η(v ± δu)/N, u ~ N(0, I/m) on the m entries of the grid, learns from their difference how
v should change, and moves the image along v: two queries, as published. One more checks whether the moved image
fools, which the published code does without counting it.

The published code divides either probe by its own length; N here is the root mean square of these lengths, the same
for both, so that the noise is read back from the probes that were queried, clipping to the box included.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from defenses.options.ranges import check_positive
from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.ball import Norm, check_ball, project, unit
from sims.attacks.method import Method
from sims.attacks.score.descent import check_step_fraction, last_checked, phase_ended


@dataclass(frozen=True)
class Bandits:
    """Settings of Bandits-TD."""

    difference: float = 0.1
    """η, ℓ2 length of a probe, pixel units, > 0; 0.1 (ℓ∞) or 0.01 (ℓ2) as published for ImageNet."""
    exploration: float = 0.1
    """δ, root mean square length of the noise on the grid, > 0; 1 (ℓ∞) or 0.01 (ℓ2) as published for ImageNet."""
    prior_rate: float = 0.1
    """How fast the prior learns, > 0; 100 (ℓ∞) or 0.1 (ℓ2) as published for ImageNet."""
    step_fraction: float = 0.2
    """Length of a step in units of epsilon, in (0, 1] (ℓ∞: every pixel; ℓ2: the image); 0.2 or 0.1 as published."""
    grid: int = 20
    """Tiles per side, at most the image's sides; 50 as published for ImageNet, 20 in public toolkits for CIFAR-10."""


class BanditsState(NamedTuple):
    """clean, image: (h, w, c); checked: (h, w, c) the image queried last, value: () its loss then.

    prior: (rows, columns, c), v for ℓ2; for ℓ∞ its inverse hyperbolic tangent, in which the exponentiated gradient
    is a sum. probing: () bool, which phase comes next.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    checked: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]
    prior: Float[Array, "rows columns c"]
    probing: Bool[Array, ""]


def bandits(threat: Threat, settings: Bandits) -> Attack:
    """Learn the prior and follow it; ValueError for a setting or a radius outside its range."""
    check_ball(threat.epsilon)
    check_step_fraction(settings.step_fraction)
    check_positive(settings, "difference", "exploration", "prior_rate", "grid")
    norm, eta, delta = threat.norm, settings.difference, settings.exploration

    def init(key, image, start):
        h, w, c = image.shape
        prior = jnp.zeros((min(settings.grid, h), min(settings.grid, w), c))
        unknown = jnp.array(jnp.inf, jnp.float32)
        return BanditsState(image, image, image, jnp.array(False), unknown, prior, jnp.array(True))

    def ask(key, state):
        return Queries(
            jnp.where(state.probing, probes(key, state), jnp.stack([state.image] * 2)),
            jnp.array([True, False]) | state.probing,
        )

    def probes(key, state):
        v, shape = direction(norm, state.prior), state.image.shape
        noise = delta * jax.random.normal(key, v.shape) / math.sqrt(v.size)
        both = jnp.array([1.0, -1.0])[:, None, None, None] * enlarged(noise, shape)  # drawn once for either probe
        return jnp.clip(state.image + eta / probe_length(v, delta, shape) * (enlarged(v, shape) + both), 0, 1)

    def tell(state, queries, answers):
        v = direction(norm, state.prior)
        half = shrunk((queries.images[0] - queries.images[1]) / 2, v.shape)
        noise = half * probe_length(v, delta, state.image.shape) / eta
        slope = (answers.value[0] - answers.value[1]) / (eta * delta)
        prior = state.prior - settings.prior_rate * slope * noise
        step = settings.step_fraction * threat.epsilon * unit(norm, enlarged(direction(norm, prior), state.image.shape))
        moved = project(norm, state.image + step, state.clean, threat.epsilon)
        return phase_ended(state, answers, state._replace(image=moved, prior=prior))

    return Attack(f"bandits-td-{norm}", "loss", 2, init, ask, tell, last_checked)


METHOD = Method(
    Bandits,
    bandits,
    "loss",
    ("linf", "l2"),
    "3",
    "Ilyas et al. 2019, arXiv 1807.07978; grid, exploration and rate as public toolkits run CIFAR-10",
)


def direction(norm: Norm, prior: Float[Array, "rows columns c"]) -> Float[Array, "rows columns c"]:
    """v: in (−1, 1) for ℓ∞, where exponentiated gradients on (1 + v)/2 are sums in artanh v; itself for ℓ2."""
    return jnp.tanh(prior) if norm == "linf" else prior


def probe_length(v: Float[Array, "rows columns c"], delta: float, shape: tuple[int, ...]) -> Float[Array, ""]:
    """√(‖v‖² + δ²d/m), ‖v‖ on the image: the root mean square length of v ± δu there, d pixels and m tiles."""
    return jnp.sqrt(jnp.sum(enlarged(v, shape) ** 2) + delta**2 * math.prod(shape) / v.size)


def enlarged(tiles: Float[Array, "rows columns c"], shape: tuple[int, ...]) -> Float[Array, "h w c"]:
    """Every pixel gets its tile's entry: tile ⌊i·rows/h⌋ in row i, and so for the columns."""
    rows, columns, _ = tiles.shape
    return tiles[_tile_of(shape[0], rows)][:, _tile_of(shape[1], columns)]


def shrunk(image: Float[Array, "h w c"], shape: tuple[int, ...]) -> Float[Array, "rows columns c"]:
    """The mean of every tile's pixels; undoes `enlarged`."""
    rows, columns = (_averages(size, tiles) for size, tiles in zip(image.shape[:2], shape[:2], strict=True))
    return jnp.einsum("ih,hwc,jw->ijc", rows, image, columns, precision="highest")


def _averages(size: int, tiles: int) -> np.ndarray:
    """(tiles, size) float32, the row of a tile averages its pixels."""
    held = _tile_of(size, tiles) == np.arange(tiles)[:, None]
    return (held / held.sum(axis=1, keepdims=True)).astype(np.float32)


def _tile_of(size: int, tiles: int) -> np.ndarray:
    return np.arange(size) * tiles // size
