"""E2: exact second moments of gradient estimates, whatever the loss."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sims.verification.check import Check
from sims.verification.instances import LARGE, SMALL, second_moment, trace_and_square
from sims.victims.objectives import linear, noisy_oracle, pool_oracle, quadratic
from sims.victims.oracle import Oracle

MU, SIGMA, Q, QUERIES, SLOPE = 0.4, 0.5, 8, 16, 1.3  # SLOPE: length of gradients
SAMPLES = {SMALL: 60_000, LARGE: 20_000}


def checks() -> Iterator[Check]:
    """Rows of E2."""
    yield from _varying_noise()
    for d in (SMALL, LARGE):
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
        return (self.signals["forward"] + self.w + SMALL * self.v) / MU**2


def varying_noise() -> VaryingNoise:
    """A quadratic behind the pool x ± b, V = 0.2; S, W and V are closed forms.

    H turns and keeps lengths, so that ‖Hb‖ is 1.5 times the gradient's: one draw shared by several directions would
    show.
    """
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(SMALL, SMALL)))[0]
    hessian = (basis * np.resize([1.0, -1.0], SMALL)) @ basis.T
    point, gradient = rng.normal(size=SMALL), SLOPE * basis[:, 0]
    v, turned, curvature = 0.2, (1.5 * SLOPE) ** 2, trace_and_square(hessian)
    along = np.sqrt(v) / SLOPE
    shift = along * basis[:, 0] + np.sqrt(turned - along**2) * basis[:, 1]
    bend = MU**4 / 4 * (SMALL + 4) * (curvature["tr"] ** 2 + 2 * curvature["tr2"])
    signals = {
        "forward": MU**2 * (SMALL + 2) * SLOPE**2 + bend,
        "antithetic": 4 * MU**2 * (SMALL + 2) * SLOPE**2,
    }
    w = SMALL * v + MU**2 * (SMALL + 2) * turned
    oracle = pool_oracle(quadratic(hessian, gradient - hessian @ point), np.stack([shift, -shift]))
    return VaryingNoise(oracle, point, gradient, signals, w, v)


def _varying_noise() -> Iterator[Check]:
    """One direction, and q of them with fresh or shared baselines."""
    it = varying_noise()
    forward = {"d": SMALL, "mu": MU, "S": it.signals["forward"], "W": it.w, "V": it.v}
    antithetic = {"mu": MU, "S": it.signals["antithetic"], "W": it.w}
    for name, values in (("forward", forward), ("antithetic", antithetic)):
        measure = second_moment(name, 1, MU, it.oracle, it.point, SAMPLES[SMALL])
        yield Check(f"E2-{name}", "quadratic, shift pool", values, measure)
    for q in (2, Q):
        for name in ("forward", "forward-shared", "antithetic"):
            values = {"q": q, "grad_mu": SLOPE, "M": it.single(name)}
            measure = second_moment(name, q, MU, it.oracle, it.point, SAMPLES[SMALL])
            yield Check("E2-shared", f"quadratic, shift pool, {name}, q = {q}", values, measure, slow=q < Q)
    few = 3  # dimensions, in which the gradient is a good part of a noiseless estimate
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
