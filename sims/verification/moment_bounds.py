"""E4: upper bounds on the second moment, on instances that reach them."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sims.verification.check import Check, Measure, loss_variance, sampled
from sims.verification.instances import LARGE, SMALL, second_moment
from sims.victims.objectives import Objective, cone, levels_oracle, linear, log_sum_exp, pool_oracle
from sims.victims.oracle import Oracle

MU, SPREAD, V = 0.4, 0.8, 0.16  # V of two equally likely losses SPREAD apart
SAMPLES = {SMALL: 60_000, LARGE: 20_000}
TWO, THREE = np.array([-1, 1]) * SPREAD / 2, np.array([-1, 0, 1]) * SPREAD / 2


class Lipschitz(NamedTuple):
    """Two equally likely losses on a Lipschitz function, at 0, and the exact signals of its estimates there.

    forward, antithetic: E‖g‖² without noise, over L₀², Gaussian directions; None where no closed form is known.
    """

    objective: Objective
    oracle: Oracle
    name: str
    forward: float | None
    antithetic: float | None


def two_losses(d: int) -> Iterator[Lipschitz]:
    """The cone, on which a forward estimate is as large as it may be, the linear loss, and log-sum-exp."""
    steep, flat = cone(d, 1.2), linear(np.full(d, 1.04 / np.sqrt(d)))
    yield Lipschitz(steep, levels_oracle(steep, TWO), f"cone, two losses, d = {d}", d * (d + 2), 0.0)
    yield Lipschitz(flat, levels_oracle(flat, TWO), f"linear, two losses, d = {d}", d + 2, d + 2)
    if d == SMALL:
        soft = log_sum_exp(d, 2.0)
        yield Lipschitz(soft, levels_oracle(soft, TWO), "log-sum-exp, two losses", None, None)


def forward_noise(d: int, v: float) -> float:
    """2dV/μ²."""
    return 2 * d * v / MU**2


def antithetic_noise(d: int, v: float) -> float:
    """dV/(2μ²)."""
    return d * v / (2 * MU**2)


def share(signal: float | None, squared: float, noise: float, bound: float) -> float | None:
    """The exact second moment over its bound; None without a known signal."""
    return None if signal is None else (signal * squared + noise) / bound


def checks() -> Iterator[Check]:
    """Rows of E4."""
    for d in (SMALL, LARGE):
        yield from _lipschitz(d)
        yield from _sphere(d)
        yield from _noise(d)
    yield from _range()
    yield from _diversity()


def _lipschitz(d: int) -> Iterator[Check]:
    origin, forward, pair = np.zeros(d), forward_noise(d, V), antithetic_noise(d, V)
    for one in two_losses(d):
        squared = one.objective.lipschitz**2
        shared = {"d": d, "mu": MU, "L0": one.objective.lipschitz}
        measure = second_moment("forward", 1, MU, one.oracle, origin, SAMPLES[d])
        known = share(one.forward, squared, forward, squared * d * (d + 2) + forward)
        yield Check("E4-forward", one.name, shared | {"Delta": SPREAD}, measure, known, slow=d > SMALL or known is None)
        measure = second_moment("antithetic", 1, MU, one.oracle, origin, SAMPLES[d])
        for label, factor in (("E4-antithetic", d + 2), ("E4-antithetic-poincare", (1 + np.sqrt(d + 1)) ** 2)):
            known = share(one.antithetic, squared, pair, squared * factor + pair)
            yield Check(label, one.name, shared | {"V": V}, measure, known, slow=d > SMALL or known is None)


def _sphere(d: int) -> Iterator[Check]:
    """The same with directions of one length, on which a linear loss is the worst again."""
    noise = antithetic_noise(d, V)
    for one in two_losses(d):
        squared = one.objective.lipschitz**2
        signal = None if one.antithetic is None else one.antithetic * d / (d + 2)
        measure = second_moment("antithetic", 1, MU, one.oracle, np.zeros(d), SAMPLES[d], "sphere")
        values = {"d": d, "mu": MU, "L0": one.objective.lipschitz, "V": V}
        known = share(signal, squared, noise, squared * d + noise)
        yield Check("E4-antithetic-sphere", one.name, values, measure, known, slow=d > SMALL or known is None)


def _levels(d: int) -> Iterator[tuple[str, Oracle, float]]:
    """Levels of the loss alone, and their share of Popoviciu's bound: two reach it, a third between them does not."""
    for name, levels in (("two losses", TWO), ("three losses", THREE)):
        yield name, levels_oracle(linear(np.zeros(d)), levels), float(np.mean(levels**2)) / (SPREAD**2 / 4)


def _noise(d: int) -> Iterator[Check]:
    for name, oracle, known in _levels(d):
        noise = second_moment("antithetic", 1, MU, oracle, np.zeros(d), SAMPLES[d])
        values = {"d": d, "mu": MU, "Delta": SPREAD}
        yield Check("E4-noise", f"zero loss, {name}, d = {d}", values, noise, known, slow=d > SMALL)


def _range() -> Iterator[Check]:
    for name, oracle, known in _levels(SMALL):
        variance = loss_variance(oracle, np.zeros(SMALL), 0, SAMPLES[SMALL])
        yield Check("E4-popoviciu", name, {"Delta": SPREAD}, variance, known)


def _diversity() -> Iterator[Check]:
    """A linear loss behind a pool of shifts: along the slope, where the bounds are reached, and at random."""
    slope = np.full(SMALL, 0.5)
    rng = np.random.default_rng(3)
    pools = {
        "two shifts along the slope": np.outer([1.0, -1.0], slope),
        "five random shifts": rng.normal(size=(5, SMALL)),
    }
    for name, shifts in pools.items():
        oracle, lipschitz, losses = pool_oracle(linear(slope), shifts), float(np.linalg.norm(slope)), shifts @ slope
        distances = np.linalg.norm(shifts[:, None] - shifts[None], axis=-1)
        square, worst, spread = float(np.mean(distances**2)), float(distances.max()), float(np.ptp(losses))
        v, count = float(losses.var()), len(shifts)
        variance = loss_variance(oracle, np.zeros(SMALL), 0, SAMPLES[SMALL])
        values = {"L0f": lipschitz, "nu2": square**0.5}
        yield Check("E4-diversity", f"linear, {name}", values, variance, v / (lipschitz**2 * square / 2))
        yield Check("E4-popoviciu", f"linear, {name}", {"Delta": spread}, variance, v / (spread**2 / 4))
        known = square / ((1 - 1 / count) * worst**2)
        yield Check("E4-pairs", name, {"nu": worst, "K": count}, _mean_square_distance(shifts), known)


def _mean_square_distance(shifts: np.ndarray) -> Measure:
    return sampled(_squared_distance, jnp.asarray(shifts, jnp.float32), SAMPLES[SMALL])


def _squared_distance(points, key):
    i, j = jax.random.randint(key, (2,), 0, len(points))
    return jnp.sum((points[i] - points[j]) ** 2)
