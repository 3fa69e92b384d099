"""C1 where all curvatures are equal: ZO-SGD against its exact recursion, floor, time and stability."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from sims.attacks.estimators.estimator import build_estimator
from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.walks import (
    MU,
    SIGMA,
    Q,
    Walk,
    late_mean,
    mean_at,
    over_chains,
    squared_length,
    trajectory,
)
from sims.victims.objectives import diagonal_quadratic, noisy_oracle
from theory.catalogue import find

H, CHAINS, STEPS = 0.8, 4096, 25


def checks() -> Iterator[Check]:
    """Rows of C1 on round quadratics."""
    yield from _scalar()
    yield from _rate()


def _round(d: int, name: str, share: float, steps: int, chains: int, deviation: float = SIGMA) -> Walk:
    """F̄ = (h/2)‖x‖² from the corner of ones, at that share of the largest stable step."""
    oracle = noisy_oracle(diagonal_quadratic(np.full(d, H), np.zeros(d)), deviation)
    eta = share * find("C1-stability")(d=d, h=H, q=Q)
    return Walk(oracle, build_estimator(name, MU, Q), np.ones(d), eta, steps, chains)


def _scalar() -> Iterator[Check]:
    d = 12
    for name in ("forward", "antithetic"):
        walk = _round(d, name, 0.3, STEPS, CHAINS)
        values = {"d": d, "mu": MU, "V": SIGMA**2, "q": Q, "eta": walk.step_size, "h": H}
        for t in (1, STEPS // 2, STEPS):
            arguments = values | {"e0": float(d), "t": t}
            yield Check(f"C1-{name}", f"round quadratic, t = {t}", arguments, mean_at(walk, t, squared_length))
        long = walk._replace(start=np.zeros(d), steps=150, chains=1024)
        yield Check(f"C1-floor-{name}", "round quadratic", values, late_mean(long, squared_length))
        slow = walk._replace(step_size=walk.step_size / 6)
        slow_values = values | {"eta": slow.step_size}
        target = (d + 3 * find(f"C1-floor-{name}")(**slow_values)) / 4
        arguments = slow_values | {"e0": float(d), "e": target}
        yield Check(f"C1-time-{name}", "round quadratic", arguments, _time_to(slow, target))


def _rate() -> Iterator[Check]:
    d = 12
    walk = _round(d, "antithetic", 0.6, 1, 60_000, deviation=0.0)
    values = {"d": d, "q": Q, "eta": walk.step_size, "h": H}
    yield Check("C1-rate", "round quadratic, no noise", values, _contraction(walk))
    yield Check("C1-stability", "round quadratic, no noise", {"d": d, "q": Q, "h": H}, _largest_stable(walk))


def _contraction(walk: Walk) -> Measure:
    """Mean of ‖x₁‖²/‖x₀‖²."""

    def measure(key) -> Estimate:
        path = trajectory(key, walk, squared_length)
        return over_chains(path[1] / path[0])

    return measure


def _time_to(walk: Walk, target: float) -> Measure:
    """Steps until the mean squared length falls to `target`, geometric between the two steps around it."""

    def measure(key) -> Estimate:
        path = trajectory(key, walk, squared_length)
        mean = path.mean(axis=1)
        t = int(np.argmax(mean <= target))
        slope = np.log(mean[t - 1] / mean[t])
        error = path[t].std(ddof=1) / np.sqrt(walk.chains) / mean[t] / slope
        return Estimate(float(t - 1 + np.log(mean[t - 1] / target) / slope), float(error))

    return measure


def _largest_stable(walk: Walk) -> Measure:
    """2h‖x‖²/E‖ḡ‖², where one noiseless step leaves E‖x‖² unchanged; E‖ḡ‖² read off the measured step."""

    def measure(key) -> Estimate:
        start, eta = float(squared_length(jnp.asarray(walk.start))), walk.step_size
        after = over_chains(trajectory(key, walk, squared_length)[-1])
        moment = (after.value - start + 2 * eta * H * start) / eta**2
        limit = 2 * H * start / moment
        return Estimate(limit, limit * after.standard_error / eta**2 / moment)

    return measure
