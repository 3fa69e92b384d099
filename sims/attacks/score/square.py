"""Square attack: random search over square patches (Andriushchenko et al. 2020), ℓ∞ and ℓ2.

One query a step: the candidate with one fresh square, kept when the loss fell. The first query is the random
initialisation. As in the authors' code an ℓ∞ square is coloured so that it changes the image. Against a random victim
the incumbent keeps the loss it was accepted with, as published, and so profits from a lucky draw (the
winner's curse); the adaptive variant queries the incumbent again beside every candidate.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from defenses.options.ranges import check_shares
from sims.attacks.attack import Attack, Queries, Report, Threat
from sims.attacks.ball import check_ball, project
from sims.attacks.method import Method

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 steps, rescaled to the budget


@dataclass(frozen=True)
class Square:
    """Settings of Square."""

    initial_fraction: float = 0.8
    """Share of the image the first square covers, in (0, 1]; on ImageNet 0.05 (ℓ∞) or 0.1 (ℓ2)."""
    reevaluate: bool = False
    """Query the incumbent again beside every candidate."""


class SquareState(NamedTuple):
    """clean, image: (h, w, c), image the incumbent, the random start before the first answer; step: ().

    value: () its loss, +inf before the first answer.
    """

    clean: Float[Array, "h w c"]
    image: Float[Array, "h w c"]
    success: Bool[Array, ""]
    value: Float[Array, ""]
    step: Int[Array, ""]


def square(threat: Threat, settings: Square) -> Attack:
    """Square with the published schedule: the side of the square is √(p·h·w), p halved at `HALVINGS`.

    For ℓ2 the side is odd and at least 3, as in the authors' code. The schedule runs over the query budget.
    Raises ValueError for an initial_fraction or a radius outside its range.
    """
    check_ball(threat.epsilon)
    check_shares(settings, "initial_fraction")
    norm, epsilon, width = threat.norm, threat.epsilon, 2 if settings.reevaluate else 1
    first, further = (_striped, _recoloured) if norm == "linf" else (_bumpy, _mass_moved)
    steps = threat.query_budget // width

    def init(key, image, start):
        begun = project(norm, first(key, image, epsilon), image, epsilon)
        return SquareState(image, begun, jnp.array(False), jnp.array(jnp.inf), jnp.array(0))

    def ask(key, state):
        shape = state.image.shape
        side = _side(state.step, steps, settings.initial_fraction, shape)
        side = side if norm == "linf" else jnp.minimum(jnp.maximum(side, 3) | 1, min(shape[:2]))
        moved = project(norm, further(key, state.clean, state.image, side, epsilon), state.clean, epsilon)
        candidate = jnp.where(state.step == 0, state.image, moved)
        if not settings.reevaluate:
            return Queries(candidate[None], jnp.array([True]))
        return Queries(jnp.stack([candidate, state.image]), jnp.array([True, True]) & (state.step > jnp.array([-1, 0])))

    def tell(state, queries, answers):
        incumbent = jnp.where(state.step > 0, answers.value[-1], jnp.inf) if settings.reevaluate else state.value
        better = (answers.value[0] < incumbent) | answers.fooled[0]
        image = jnp.where(better, queries.images[0], state.image)
        value = jnp.where(better, answers.value[0], incumbent)
        return SquareState(state.clean, image, answers.fooled[0], value, state.step + 1)

    def report(state):
        return Report(jnp.where(state.step == 0, state.clean, state.image), state.success, state.value)

    return Attack(f"square-{norm}", "loss", width, init, ask, tell, report)


METHOD = Method(
    Square,
    square,
    "loss",
    ("linf", "l2"),
    "1 + reevaluate",
    "Andriushchenko et al. 2020, arXiv 1912.00049; initial fraction as public toolkits run small images",
)


def _side(step, query_budget, initial_fraction, shape):
    """Side of the square at this step: at least 1, smaller than the image."""
    h, w, _ = shape
    halvings = jnp.sum(step > jnp.array([after * query_budget // 10_000 for after in HALVINGS]))
    side = jnp.round(jnp.sqrt(initial_fraction * 0.5**halvings * h * w)).astype(jnp.int32)
    return jnp.clip(side, 1, max(min(h, w) - 1, 1))


def _signs(key, shape):
    """Random signs of that shape, float32."""
    return 2 * jax.random.bernoulli(key, shape=shape).astype(jnp.float32) - 1


def _striped(key, clean, epsilon):
    """The image with vertical stripes of ±ε, one sign per column and channel."""
    _, w, c = clean.shape
    return clean + epsilon * _signs(key, (1, w, c))


def _window(key, side, shape):
    """(h, w) row and column offsets from the corner of a uniformly placed side × side window."""
    h, w, _ = shape
    row_key, column_key = jax.random.split(key)
    top = jax.random.randint(row_key, (), 0, h - side + 1)
    left = jax.random.randint(column_key, (), 0, w - side + 1)
    rows, columns = jnp.meshgrid(jnp.arange(h) - top, jnp.arange(w) - left, indexing="ij")
    return rows, columns


def _inside(rows, columns, side):
    return ((rows >= 0) & (rows < side) & (columns >= 0) & (columns < side))[..., None]


def _recoloured(key, clean, image, side, epsilon):
    """One window of the image set to ±ε, one fresh sign per channel, uniform over those that change the image."""
    window_key, sign_key = jax.random.split(key)
    inside = _inside(*_window(window_key, side, image.shape), side)
    up, down = (project("linf", clean + step, clean, epsilon) for step in (epsilon, -epsilon))

    upwards, turned = _sign_and_turn(sign_key, image.shape[-1])
    changed = jnp.any(inside & (jnp.where(upwards, up, down) != image))
    return jnp.where(inside, jnp.where(upwards ^ (~changed & turned), up, down), image)


def _sign_and_turn(key, channels):
    """(channels,) fair coins, and (channels,) which of them to turn round: any set of channels but the empty one.

    All sets are nearly as likely; beyond 16 channels, where the empty one would come once in 2^17 times or less, it
    stands for the set of all.
    """
    if channels > 16:
        upwards, turned = jax.random.bernoulli(key, shape=(2, channels))
        return upwards, turned | ~jnp.any(turned)
    channel, bits = jnp.arange(channels), jax.random.bits(key)
    other = 1 + (bits >> 16) % (2**channels - 1)
    return (bits >> channel) % 2 == 1, (other >> channel) % 2 == 1


def _bump(rows, columns, height, width):
    """The paper's η on a height × width window: Σ 1/(j+1)² over the nested rectangles that hold the pixel, else 0."""
    reach = jnp.maximum(jnp.abs(rows - height // 2), jnp.abs(columns - width // 2))
    rings = jnp.maximum(height, width) // 2 + 1
    sizes = jnp.arange(max(rows.shape) + 1)
    terms = jnp.where(sizes < rings, 1 / (sizes + 1.0) ** 2, 0)
    from_reach = jnp.cumsum(terms[::-1])[::-1]  # the smallest first, which keeps float32's digits
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return jnp.where(inside, from_reach[jnp.minimum(reach, len(sizes) - 1)], 0)


def _paired_bumps(rows, columns, side, upright):
    """Two bumps of opposite sign that fill a side × side window, one above the other or side by side; unit length."""
    rows, columns = jnp.where(upright, rows, columns), jnp.where(upright, columns, rows)
    half = side // 2
    pair = _bump(rows, columns, half, side) - _bump(rows - half, columns, side - half, side)
    return pair / jnp.maximum(jnp.sqrt(jnp.sum(pair**2)), 1e-12)


def _bumpy(key, clean, epsilon):
    """The image with paired bumps on a 5 × 5 grid of tiles, random orientation and sign, together of length ε."""
    h, w, c = clean.shape
    side = max(min(h, w) // 5, 1)
    tiles = (-(-h // side), -(-w // side))
    upright_key, sign_key = jax.random.split(key)
    rows, columns = jnp.meshgrid(jnp.arange(h) % side, jnp.arange(w) % side, indexing="ij")
    upright = jnp.repeat(jnp.repeat(jax.random.bernoulli(upright_key, shape=tiles), side, 0), side, 1)[:h, :w]
    signs = jnp.repeat(jnp.repeat(_signs(sign_key, (*tiles, c)), side, 0), side, 1)[:h, :w]
    pattern = _paired_bumps(rows, columns, side, upright)[..., None] * signs
    return clean + epsilon * pattern / jnp.maximum(jnp.sqrt(jnp.sum(pattern**2)), 1e-12)


def _mass_moved(key, clean, image, side, epsilon):
    """The image with the perturbation of the next ℓ2 candidate."""
    return clean + _move_mass(key, image - clean, side, epsilon)


def _move_mass(key, delta, side, epsilon):
    """The ℓ2 step: empty one window, and put its mass with what ε leaves unused into another as a fresh bump."""
    target_key, source_key, upright_key, sign_key = jax.random.split(key, 4)
    rows, columns = _window(target_key, side, delta.shape)
    target = _inside(rows, columns, side)
    source = _inside(*_window(source_key, side, delta.shape), side)
    unused = jnp.maximum(epsilon**2 - jnp.sum(delta**2), 0)
    mass = jnp.sum(jnp.where(target | source, delta**2, 0), axis=(0, 1)) + unused / delta.shape[-1]
    bump = _paired_bumps(rows, columns, side, jax.random.bernoulli(upright_key))[..., None]
    current = jnp.where(target, delta, 0)
    length = jnp.sqrt(jnp.sum(current**2, axis=(0, 1), keepdims=True))
    shaped = bump * _signs(sign_key, (1, 1, delta.shape[-1])) + current / jnp.maximum(length, 1e-12)
    shaped = shaped / jnp.maximum(jnp.sqrt(jnp.sum(shaped**2, axis=(0, 1), keepdims=True)), 1e-12)
    return jnp.where(target, shaped * jnp.sqrt(mass), jnp.where(source, 0, delta))
