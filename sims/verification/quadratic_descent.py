"""C1 where all curvatures are equal: ZO-SGD against its exact recursion, floor, time and stability."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from sims.attacks.estimators.table import build_estimator
from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.verification.instances import LARGE, SMALL
from sims.verification.walks import (
    FEW,
    MU,
    SIGMA,
    Q,
    Walk,
    largest_step,
    late_mean,
    mean_at,
    over_chains,
    squared_length,
    trajectory,
)
from sims.victims.objectives import diagonal_quadratic, noisy_oracle
from theory import recursion

H, STEPS = 0.8, 25
CHAINS = {FEW: 40_960, SMALL: 4096, LARGE: 128}
TARGETED = {FEW: (160_000, 2), SMALL: (16_384, Q), LARGE: (512, Q)}  # d: chains, q
HEIGHT, TARGET = 6, 4  # the start as a multiple of the floor, and the steps from there to the target


def checks() -> Iterator[Check]:
    """Rows of C1 on round quadratics."""
    for d in CHAINS:
        for name in ("forward", "antithetic"):
            yield from _errors(d, name)
            yield _floor(d, name)
            yield _time(d, name)
        yield from _rate(d)


def _round(d: int, name: str, share: float, deviation: float = SIGMA) -> Walk:
    """F̄ = (h/2)‖x‖² from the corner of ones, at that share of the largest stable step."""
    oracle = noisy_oracle(diagonal_quadratic(np.full(d, H), np.zeros(d)), deviation)
    return Walk(oracle, build_estimator(name, MU, Q), np.ones(d), share * largest_step(d, H, Q), STEPS, CHAINS[d])


def _values(d: int, walk: Walk) -> dict[str, float]:
    return {"d": d, "mu": MU, "V": SIGMA**2, "q": Q, "eta": walk.step_size, "h": H}


def _errors(d: int, name: str) -> Iterator[Check]:
    """e_t at several steps of one walk; in few dimensions also at the limit of stability and beyond it."""
    for share, steps in ((0.3, (1, STEPS // 2, STEPS)), (1.0, (2,)), (1.1, (2,))):
        walk = _round(d, name, share)
        for t in steps if share < 1 or d == FEW else ():
            arguments = _values(d, walk) | {"e0": float(d), "t": t}
            instance = f"round quadratic, d = {d}, {share:g} × the largest stable step, t = {t}"
            measure = mean_at(walk._replace(steps=2 if t <= 2 else STEPS), t, squared_length)
            yield Check(f"C1-{name}", instance, arguments, measure, slow=d > FEW)


def _floor(d: int, name: str) -> Check:
    """The mean of late steps, from the minimiser, or on the floor where it takes too many steps to reach."""
    walk = _round(d, name, 0.3)._replace(steps=40 if d == LARGE else 150, chains=max(CHAINS[d] // 8, 64))
    height = np.sum(_recursion_floor(d, name, walk.step_size, Q)) if d == LARGE else 0.0
    walk = walk._replace(start=np.full(d, np.sqrt(height / d)))
    measure = late_mean(walk, squared_length)
    return Check(f"C1-floor-{name}", f"round quadratic, d = {d}", _values(d, walk), measure, slow=d > FEW)


def _time(d: int, name: str) -> Check:
    """Steps from a start near the floor to a target nearer to it, so that all of the floor counts.

    The target is where the recursion is after TARGET steps.
    """
    chains, q = TARGETED[d]
    eta = 0.6 * largest_step(d, H, q)
    floor = _recursion_floor(d, name, eta, q)
    noise = _noise(d, name)
    path = recursion.trajectory(HEIGHT * floor, np.full(d, H), eta, q, noise, TARGET).sum(axis=1)
    start, target = float(path[0]), float(path[-1])
    oracle = noisy_oracle(diagonal_quadratic(np.full(d, H), np.zeros(d)), SIGMA)
    walk = Walk(oracle, build_estimator(name, MU, q), np.full(d, np.sqrt(start / d)), eta, TARGET + 1, chains)
    values = {"d": d, "mu": MU, "V": SIGMA**2, "q": q, "eta": eta, "h": H, "e0": start, "e": target}
    measure = _time_to(walk, target)
    return Check(f"C1-time-{name}", f"round quadratic, d = {d}", values, measure, slow=d > FEW)


def _noise(d: int, name: str) -> np.ndarray:
    return getattr(recursion, f"noise_{name}")(np.full(d, H), MU, SIGMA**2)


def _recursion_floor(d: int, name: str, eta: float, q: int) -> np.ndarray:
    return recursion.floor(np.full(d, H), eta, q, _noise(d, name))


def _rate(d: int) -> Iterator[Check]:
    walk = _round(d, "antithetic", 0.6, deviation=0.0)
    walk = walk._replace(chains=1024, steps=1) if d == LARGE else walk
    values, instance = {"d": d, "q": Q, "eta": walk.step_size, "h": H}, f"round quadratic, no noise, d = {d}"
    yield Check("C1-rate", instance, values, _contraction(walk), slow=d > FEW)
    limit = {"d": d, "q": Q, "h": H}
    yield Check("C1-stability", instance, limit, _largest_stable(walk), slow=d > FEW)


def _contraction(walk: Walk) -> Measure:
    """Mean of ‖x₁‖²/‖x₀‖²."""

    def measure(key) -> Estimate:
        path = trajectory(key, walk, squared_length)
        return over_chains(path[1] / path[0])

    return measure


def _time_to(walk: Walk, target: float) -> Measure:
    """Steps until the mean squared length falls to `target`, along its slope at the last step but one."""

    def measure(key) -> Estimate:
        path = trajectory(key, walk, squared_length)
        before, reached, after = (over_chains(at) for at in path[-3:])
        slope = (before.value - after.value) / 2
        return Estimate(TARGET + (reached.value - target) / slope, reached.standard_error / slope)

    return measure


def _largest_stable(walk: Walk) -> Measure:
    """2h‖x‖²/E‖ḡ‖², where one noiseless step leaves E‖x‖² unchanged; E‖ḡ‖² read off the measured step."""

    def measure(key) -> Estimate:
        start, eta = float(squared_length(jnp.asarray(walk.start))), walk.step_size
        after = over_chains(trajectory(key, walk, squared_length)[1])
        moment = (after.value - start + 2 * eta * H * start) / eta**2
        limit = 2 * H * start / moment
        return Estimate(limit, limit * after.standard_error / eta**2 / moment)

    return measure
