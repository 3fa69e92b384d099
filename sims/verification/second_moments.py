"""E2: exact second moments of gradient estimates, whatever the loss."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sims.verification.check import Check
from sims.verification.instances import LARGE, SMALL, second_moment
from sims.victims.objectives import diagonal_quadratic, linear, noisy_oracle, pool_oracle
from sims.victims.oracle import Oracle

MU, SIGMA, Q, QUERIES, SLOPE = 0.4, 0.5, 8, 16, 1.3  # SLOPE: length of gradients
SAMPLES = {SMALL: 60_000, LARGE: 20_000}


def checks() -> Iterator[Check]:
    """Rows of E2."""
    yield from _directions_together()
    for d in (SMALL, LARGE):
        yield from _varying_noise(d)
        yield from _noise_alone(d)


class VaryingNoise(NamedTuple):
    """A random loss whose V varies with x, a point and the gradient of F̄ there, and what E2 takes.

    signals: S by the estimator's name. w: W. v: V at the point.
    """

    oracle: Oracle
    point: np.ndarray
    gradient: np.ndarray
    signals: dict[str, float]
    w: float
    v: float

    def single(self, estimator: str) -> float:
        """E‖g‖² of one direction, written out apart from the statements."""
        if estimator == "antithetic":
            return (self.signals["antithetic"] + 2 * self.w) / (2 * MU) ** 2
        return (self.signals["forward"] + self.w + len(self.point) * self.v) / MU**2


def varying_noise(d: int) -> VaryingNoise:
    """A saddle behind the pool x ± b, V = 0.2, d even; S, W and V are closed forms.

    H = diag(1, −1, …) keeps lengths, so that ‖Hb‖ is 1.5 times the gradient's: one draw shared by several directions
    would show.
    """
    rng, curvatures = np.random.default_rng(1), np.resize([1.0, -1.0], d)
    first, second = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    point, gradient = rng.normal(size=d), SLOPE * first
    v, turned = 0.2, (1.5 * SLOPE) ** 2
    along = np.sqrt(v) / SLOPE
    shift = along * first + np.sqrt(turned - along**2) * second
    bend = MU**4 / 4 * (d + 4) * 2 * d  # tr H = 0 and tr H² = d
    signals = {"forward": MU**2 * (d + 2) * SLOPE**2 + bend, "antithetic": 4 * MU**2 * (d + 2) * SLOPE**2}
    w = d * v + MU**2 * (d + 2) * turned
    saddle = diagonal_quadratic(curvatures, gradient - curvatures * point)
    return VaryingNoise(pool_oracle(saddle, np.stack([shift, -shift])), point, gradient, signals, w, v)


def _varying_noise(d: int) -> Iterator[Check]:
    """One direction, and q of them with fresh or shared baselines."""
    it, instance, slow = varying_noise(d), f"saddle, shift pool, d = {d}", d > SMALL
    forward = {"d": d, "mu": MU, "S": it.signals["forward"], "W": it.w, "V": it.v}
    antithetic = {"mu": MU, "S": it.signals["antithetic"], "W": it.w}
    for name, values in (("forward", forward), ("antithetic", antithetic)):
        measure = second_moment(name, 1, MU, it.oracle, it.point, SAMPLES[d])
        yield Check(f"E2-{name}", instance, values, measure, slow=slow)
    for q in (2, Q) if d == SMALL else (Q,):
        for name in ("forward", "forward-shared", "antithetic") if d == SMALL else ("forward-shared",):
            values = {"q": q, "grad_mu": SLOPE, "M": it.single(name)}
            measure = second_moment(name, q, MU, it.oracle, it.point, SAMPLES[d] // (3 if slow else 1))
            yield Check("E2-shared", f"{instance}, {name}, q = {q}", values, measure, slow=slow or q < Q)


def _directions_together() -> Iterator[Check]:
    """Without noise and in few dimensions, in which the gradient is a good part of the estimate."""
    few = 3
    slope = np.full(few, SLOPE / np.sqrt(few))
    measure = second_moment("antithetic", 2, MU, noisy_oracle(linear(slope), 0.0), np.zeros(few), SAMPLES[SMALL])
    yield Check(
        "E2-shared",
        f"linear, no noise, d = {few}, q = 2",
        {"q": 2, "grad_mu": SLOPE, "M": (few + 2) * SLOPE**2},
        measure,
    )


def _noise_alone(d: int) -> Iterator[Check]:
    """The noise terms on F̄ = 0: one direction, and N queries."""
    oracle, origin = noisy_oracle(linear(np.zeros(d)), SIGMA), np.zeros(d)
    values, instance = {"d": d, "mu": MU, "V": SIGMA**2}, f"zero loss, loss noise, d = {d}"
    for name in ("forward", "antithetic"):
        measure = second_moment(name, 1, MU, oracle, origin, SAMPLES[d])
        yield Check(f"E2-noise-{name}", instance, values, measure, slow=d > SMALL)
    for name, estimator, q in (
        ("forward", "forward", QUERIES // 2),
        ("shared", "forward-shared", QUERIES - 1),
        ("antithetic", "antithetic", QUERIES // 2),
    ):
        measure = second_moment(estimator, q, MU, oracle, origin, SAMPLES[d] // 3)
        yield Check(f"E2-budget-{name}", instance, {**values, "N": QUERIES}, measure, slow=d > SMALL)
