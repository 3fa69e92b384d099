"""E2: exact second moments of gradient estimates, whatever the loss."""

from collections.abc import Iterator

import numpy as np

from sims.verification.check import Check
from sims.verification.instances import random_quadratic, second_moment, trace_and_square
from sims.victims.objectives import linear, noisy_oracle, pool_oracle, quadratic
from theory.catalogue import find

D, MU, SIGMA, SAMPLES = 12, 0.4, 0.5, 60_000
DIMENSIONS = (12, 64, 784)


def checks() -> Iterator[Check]:
    """Rows of E2."""
    yield from _general()
    yield from _noise_alone()
    yield from _averaged()


def _general() -> Iterator[Check]:
    """E2 where V varies with x: a quadratic behind the pool x ± b, whose S and W are closed forms."""
    hessian, slope, point = random_quadratic(D)
    shift = 0.3 * np.ones(D) / np.sqrt(D)
    oracle = pool_oracle(quadratic(hessian, slope), np.stack([shift, -shift]))
    a = hessian @ point + slope
    square, curvature = float(a @ a), trace_and_square(hessian)
    signal = (D + 2) * square
    bend = MU**2 / 4 * (D + 4) * (curvature["tr"] ** 2 + 2 * curvature["tr2"])
    v = float(a @ shift) ** 2
    w = D * v + MU**2 * (D + 2) * float(np.sum((hessian @ shift) ** 2))
    forward = {"d": D, "mu": MU, "S": MU**2 * (signal + bend), "W": w, "V": v}
    antithetic = {"mu": MU, "S": 4 * MU**2 * signal, "W": w}
    for name, values in (("forward", forward), ("antithetic", antithetic)):
        measure = second_moment(name, 1, MU, oracle, point, SAMPLES)
        yield Check(f"E2-{name}", "quadratic, shift pool", values, measure)


def _noise_alone() -> Iterator[Check]:
    """The noise terms on F̄ = 0: one direction, and N queries."""
    oracle, origin = noisy_oracle(linear(np.zeros(D)), SIGMA), np.zeros(D)
    values = {"d": D, "mu": MU, "V": SIGMA**2}
    for name in ("forward", "antithetic"):
        measure = second_moment(name, 1, MU, oracle, origin, SAMPLES)
        yield Check(f"E2-noise-{name}", "zero loss, loss noise", values, measure)
    queries = 16
    for name, estimator, q in (
        ("forward", "forward", queries // 2),
        ("shared", "forward-shared", queries - 1),
        ("antithetic", "antithetic", queries // 2),
    ):
        measure = second_moment(estimator, q, MU, oracle, origin, SAMPLES // 3)
        yield Check(f"E2-budget-{name}", "zero loss, loss noise", {**values, "N": queries}, measure)


def _averaged() -> Iterator[Check]:
    """q directions with one shared baseline, or fresh ones, have the same second moment."""
    hessian, slope, point = random_quadratic(D)
    oracle = noisy_oracle(quadratic(hessian, slope), SIGMA)
    norm = float(np.linalg.norm(hessian @ point + slope))
    single = find("E3-forward")(d=D, mu=MU, V=SIGMA**2, grad=norm, **trace_and_square(hessian))
    for name in ("forward-shared", "forward"):
        measure = second_moment(name, 8, MU, oracle, point, SAMPLES // 2)
        yield Check("E2-shared", f"quadratic, loss noise, {name}", {"q": 8, "grad_mu": norm, "M": single}, measure)
