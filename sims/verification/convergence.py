"""C1: ZO-SGD on quadratics against its exact recursion: scalar, diagonal and dense H, three dimensions."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sims.estimators.estimator import GradientEstimator, build_estimator
from sims.objectives import Objective, diagonal_quadratic, noisy_oracle, quadratic
from sims.oracle import Oracle
from sims.streaming import Estimate
from sims.verification.check import Check, Measure
from sims.zo_sgd import descend
from theory import recursion
from theory.catalogue import find

MU, SIGMA, H, Q = 0.5, 0.3, 0.8, 8
CHAINS, STEPS = 4096, 25
WIDE = {12: (4096, 8, 30), 64: (512, 8, 30), 784: (96, 16, 20)}  # d: chains, q, steps


class Walk(NamedTuple):
    """ZO-SGD from `start` on one noisy quadratic."""

    oracle: Oracle
    estimator: GradientEstimator
    start: np.ndarray
    step_size: float
    steps: int
    chains: int


def checks() -> Iterator[Check]:
    """Rows of C1."""
    yield from _scalar()
    yield from _rate()
    yield from _diagonal_floor()
    yield from _recursion()


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
            yield Check(f"C1-{name}", f"round quadratic, t = {t}", arguments, _at(walk, t, _squared_length))
        long = walk._replace(start=np.zeros(d), steps=150, chains=1024)
        yield Check(f"C1-floor-{name}", "round quadratic", values, _late_mean(long, _squared_length))
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


def _diagonal_floor() -> Iterator[Check]:
    d = 12
    curvatures = np.linspace(0.3, 1.0, d)
    for name in ("forward", "antithetic"):
        objective = diagonal_quadratic(curvatures, np.zeros(d))
        walk = _walk(curvatures, np.zeros(d), objective, name, (1024, Q, 200))
        values = {"mu": MU, "V": SIGMA**2, "q": Q, "eta": walk.step_size, "h_i": curvatures}
        yield Check(f"C1-diagonal-{name}", "diagonal H", values, _late_mean(walk, objective.value))


def _recursion() -> Iterator[Check]:
    """The objective after T steps is one exact step beyond the recursion's s at T − 1."""
    for d, layout in WIDE.items():
        curvatures = np.linspace(0.2, 1.0, d)
        basis = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]
        dense = (basis * curvatures) @ basis.T
        shapes = {
            "diagonal H": (diagonal_quadratic(curvatures, np.zeros(d)), np.ones(d)),
            "general H": (quadratic(dense, np.zeros(d)), basis @ np.ones(d)),
        }
        for name in ("forward", "antithetic"):
            for shape, (objective, start) in shapes.items():
                walk = _walk(curvatures, start, objective, name, layout)
                noise = getattr(recursion, f"noise_{name}")(curvatures, MU, SIGMA**2)
                _, q, steps = layout
                path = recursion.trajectory(np.ones(d), curvatures, walk.step_size, q, noise, steps - 1)
                values = {"mu": MU, "V": SIGMA**2, "q": q, "eta": walk.step_size}
                arguments = values | {"h_i": curvatures, "s_i": path[-1]}
                measure = _at(walk, steps, objective.value)
                yield Check(f"C1-step-{name}", f"{shape}, d = {d}, T = {steps}", arguments, measure)


def _walk(curvatures: np.ndarray, start: np.ndarray, objective: Objective, estimator: str, layout) -> Walk:
    chains, q, steps = layout
    eta = 0.3 * find("C1-stability")(d=len(curvatures), h=float(curvatures.max()), q=q)
    return Walk(noisy_oracle(objective, SIGMA), build_estimator(estimator, MU, q), start, eta, steps, chains)


def _squared_length(x: jax.Array) -> jax.Array:
    return jnp.sum(x**2, axis=-1)


def _trajectory(key, walk: Walk, observe: Callable[[jax.Array], jax.Array]) -> np.ndarray:
    """observe(x) for every chain, (steps + 1, chains) float64."""
    start = np.broadcast_to(walk.start.astype(np.float32), (walk.chains, len(walk.start)))
    seen = descend(key, walk.estimator, walk.oracle, jnp.asarray(start), 0, walk.step_size, walk.steps, observe)
    return np.asarray(seen, np.float64)


def _estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def _at(walk: Walk, step: int, observe: Callable[[jax.Array], jax.Array]) -> Measure:
    """Mean of an observation over the chains after that step."""
    return lambda key: _estimate(_trajectory(key, walk, observe)[step])


def _contraction(walk: Walk) -> Measure:
    """Mean of ‖x₁‖²/‖x₀‖²."""

    def measure(key) -> Estimate:
        path = _trajectory(key, walk, _squared_length)
        return _estimate(path[1] / path[0])

    return measure


def _late_mean(walk: Walk, observe: Callable[[jax.Array], jax.Array]) -> Measure:
    """Mean over the second half of the steps, the error from independent chains."""
    return lambda key: _estimate(_trajectory(key, walk, observe)[walk.steps // 2 :].mean(axis=0))


def _time_to(walk: Walk, target: float) -> Measure:
    """Steps until the mean squared length falls to `target`, geometric between the two steps around it."""

    def measure(key) -> Estimate:
        path = _trajectory(key, walk, _squared_length)
        mean = path.mean(axis=1)
        t = int(np.argmax(mean <= target))
        slope = np.log(mean[t - 1] / mean[t])
        error = path[t].std(ddof=1) / np.sqrt(walk.chains) / mean[t] / slope
        return Estimate(float(t - 1 + np.log(mean[t - 1] / target) / slope), float(error))

    return measure


def _largest_stable(walk: Walk) -> Measure:
    """2h‖x‖²/E‖ḡ‖², where one noiseless step leaves E‖x‖² unchanged; E‖ḡ‖² read off the measured step."""

    def measure(key) -> Estimate:
        start, eta = float(_squared_length(jnp.asarray(walk.start))), walk.step_size
        after = _estimate(_trajectory(key, walk, _squared_length)[-1])
        moment = (after.value - start + 2 * eta * H * start) / eta**2
        limit = 2 * H * start / moment
        return Estimate(limit, limit * after.standard_error / eta**2 / moment)

    return measure
