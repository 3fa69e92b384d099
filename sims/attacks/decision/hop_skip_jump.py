"""HopSkipJump: walk the boundary along gradients estimated from labels (Chen, Jordan & Wainwright 2020), ℓ2 and ℓ∞.

A round has three phases. Bisect the segment from the clean image to the adversarial one. Probe: around its end, labels
of random directions, centred by their mean, add up to the direction of the gradient. Jump that way, halving the jump
until it lands on an adversarial image.

Directions are random signs: as isotropic as the sphere of the paper up to O(1/d), at a twentieth of the cost.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from optax.tree_utils import tree_where

from defenses.options.ranges import check_counts, check_shares
from sims.attacks.attack import Attack, Queries, Threat
from sims.attacks.ball import Norm
from sims.attacks.decision.closest import Closest, asks_on, decision_attack, distance_of, none_yet, opening, remember
from sims.attacks.estimators.directions import rademacher
from sims.attacks.method import Method
from sims.attacks.score.segment import middle, narrowed, point

OPENING, BISECTING, PROBING, JUMPING = range(4)
MAX_BATCH = 10_000
HALVINGS = 20  # jumps tried before a round is given up: a random victim may deny every one
USUAL_JUMPS = 3  # what a plan of the budget allows a round for jumps


@dataclass(frozen=True)
class HopSkipJump:
    """Settings of HopSkipJump."""

    initial_batch: int = 100
    """B₀: round t makes B₀√t probes, at most 10,000; >= 1."""
    probe_fraction: float = 0.01
    """δ in units of the distance, in (0, 1]: the paper has 1/d, ART this. On a CIFAR-10 ResNet-20, 1/d to 0.1 end alike
    (paired geometric means within 3 %); against noise the longer is the better, and 1/d meets float32."""


class Probes(NamedTuple):
    """Of this round: moved, signed: (h, w, c) sums of the displacements, and of those with the sign of their answers.

    balance: () sum of the signs. size: () how many probes the round makes.
    """

    moved: Float[Array, "h w c"]
    signed: Float[Array, "h w c"]
    balance: Float[Array, ""]
    size: Int[Array, ""]


class HopSkipJumpState(NamedTuple):
    """end: (h, w, c), adversarial when queried: what is bisected, probed around and jumped from; the start before.

    length: () its distance from the clean image. low: () see `segment`. probes: the sums of this round; while jumping,
    `signed` is the direction. phase: () one of the four. count: () queries of this phase. round: () t, from 1.
    spent: () queries so far.
    """

    closest: Closest
    end: Float[Array, "h w c"]
    length: Float[Array, ""]
    low: Float[Array, ""]
    probes: Probes
    phase: Int[Array, ""]
    count: Int[Array, ""]
    round: Int[Array, ""]
    spent: Int[Array, ""]


def hop_skip_jump(threat: Threat, settings: HopSkipJump) -> Attack:
    """HopSkipJump within the threat's budget, whose last round takes what is left.

    Raises ValueError for a setting outside its range.
    """
    check_counts(settings, initial_batch=1)
    check_shares(settings, "probe_fraction")
    norm = threat.norm

    def init(key, image, start):
        zero, none, nothing = jnp.float32(0), jnp.int32(0), jnp.zeros(image.shape, jnp.float32)
        probes = Probes(nothing, nothing, zero, none)
        return HopSkipJumpState(none_yet(image), start, zero, zero, probes, jnp.int32(OPENING), none, none, none)

    def ask(key, state):
        clean, d = state.closest.clean, state.end.size
        first, trying = opening(key, state.end, state.count)
        halfway = point(norm, clean, state.end, state.length, middle(state.low))
        signs = rademacher(key, 1, state.end.shape)[0]
        probe = state.end + settings.probe_fraction * state.length / math.sqrt(d) * signs
        reach = state.length / jnp.sqrt(jnp.maximum(state.round, 1)) * 0.5**state.count
        jump = state.end + reach * state.probes.signed
        image = jnp.select([state.phase == phase for phase in range(3)], [first, halfway, probe], jump)
        needed = asks_on(threat, state.closest) & (trying | (state.phase != OPENING))
        return Queries(jnp.clip(image, 0, 1)[None], needed[None])

    def tell(state, queries, answers):
        queried, fooled = queries.images[0], answers.fooled[0]
        closest = remember(threat, state.closest, queried, fooled)
        length = distance_of(norm, queried, closest.clean)
        heard = state._replace(closest=closest, count=state.count + 1, spent=state.spent + 1)
        landed = heard._replace(
            end=queried, length=length, low=jnp.float32(0), phase=jnp.int32(BISECTING), count=jnp.int32(0)
        )
        opened = tree_where(fooled & (length > 0), landed, heard)
        denied = tree_where(heard.count >= HALVINGS, next_round(heard), heard)
        told = opened, bisected(heard, queried, length, fooled), probed(heard, queried, fooled)
        jumped = tree_where(fooled, landed, denied)
        return jax.tree.map(
            lambda *each: jnp.select([state.phase == p for p in range(3)], each[:3], each[3]), *told, jumped
        )

    def bisected(heard, queried, length, fooled):
        end, length = jnp.where(fooled, queried, heard.end), jnp.where(fooled, length, heard.length)
        narrower = heard._replace(end=end, length=length, low=narrowed(heard.low, fooled))
        return tree_where(heard.count >= bisections(norm, end.size, settings), next_round(narrower), narrower)

    def probed(heard, queried, fooled):
        probes, last = added(heard.probes, queried - heard.end, fooled), heard.count >= heard.probes.size
        towards = jnp.where(last, direction(norm, probes), probes.signed)
        return heard._replace(
            probes=probes._replace(signed=towards),
            phase=jnp.where(last, jnp.int32(JUMPING), PROBING),
            count=jnp.where(last, 0, heard.count),
        )

    def next_round(state):
        t, nothing = state.round + 1, jnp.zeros_like(state.end)
        overhead = bisections(norm, state.end.size, settings) + USUAL_JUMPS
        size = batch_size(settings.initial_batch, t, threat.query_budget - state.spent, overhead)
        probes = Probes(nothing, nothing, jnp.float32(0), size)
        return state._replace(probes=probes, phase=jnp.int32(PROBING), count=jnp.int32(0), round=t)

    return decision_attack("hop-skip-jump", threat, init, ask, tell)


METHOD = Method(
    HopSkipJump,
    hop_skip_jump,
    "label",
    ("l2", "linf"),
    "1",
    "Chen, Jordan & Wainwright 2020, arXiv 1904.02144; probe length as in ART",
)


def bisections(norm: Norm, d: int, settings: HopSkipJump) -> int:
    """Queries of one bisection: the bracket ends below θ, the share whose normal length is that of a probe.

    θ = probe_fraction / √d for ℓ2, probe_fraction / d for ℓ∞.
    """
    return math.ceil(math.log2((math.sqrt(d) if norm == "l2" else d) / settings.probe_fraction))


def batch_size(initial_batch: int, t: Int[Array, ""], left: Int[Array, ""], overhead: int) -> Int[Array, ""]:
    """Probes of round t: B₀√t, at most `MAX_BATCH`; all that is left where that is not another half round more."""
    wanted = jnp.minimum(jnp.floor(initial_batch * jnp.sqrt(t)), MAX_BATCH).astype(jnp.int32)
    affordable = left - overhead
    last = affordable - wanted < overhead + wanted // 2
    return jnp.maximum(jnp.where(last, affordable, wanted), 1)


def added(probes: Probes, moved: Float[Array, "h w c"], fooled: Array) -> Probes:
    """The sums after one more answer."""
    sign = jnp.where(fooled, 1.0, -1.0)
    return probes._replace(
        moved=probes.moved + moved, signed=probes.signed + sign * moved, balance=probes.balance + sign
    )


def direction(norm: Norm, probes: Probes) -> Float[Array, "h w c"]:
    """The estimated direction of the gradient: at length 1 (ℓ2), or its signs (ℓ∞).

    The signs are centred by their mean, unless all answers agree.
    """
    mean = probes.balance / jnp.maximum(probes.size, 1)
    estimate = probes.signed - jnp.where(jnp.abs(mean) < 1, mean, 0) * probes.moved
    if norm == "linf":
        return jnp.sign(estimate)
    return estimate / jnp.maximum(jnp.sqrt(jnp.sum(estimate**2)), 1e-12)
