"""E4 and E5: upper bounds on the second moment, on instances that reach them and on the one that breaks E5."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from sims.measurements.streaming import Estimate
from sims.verification.check import Check, Measure, loss_variance, sampled
from sims.verification.instances import second_moment
from sims.victims.objectives import Objective, cone, linear, log_sum_exp, pool_oracle, two_valued_oracle
from theory.catalogue import find

D, MU, SAMPLES = 12, 0.4, 60_000


def checks() -> Iterator[Check]:
    """Rows of E4 and E5."""
    yield from _lipschitz()
    yield from _diversity()
    yield from _recalled()


def _lipschitz() -> Iterator[Check]:
    """Two equally likely losses Δ apart on the cone, the linear loss and log-sum-exp."""
    spread, origin = 0.8, np.zeros(D)
    instances: list[Objective] = [cone(D, 1.2), linear(np.full(D, 0.3)), log_sum_exp(D, 2.0)]
    for objective in instances:
        oracle, shared = two_valued_oracle(objective, spread), {"d": D, "mu": MU, "L0": objective.lipschitz}
        forward = second_moment("forward", 1, MU, oracle, origin, SAMPLES)
        antithetic = second_moment("antithetic", 1, MU, oracle, origin, SAMPLES)
        name = f"{objective.name}, two losses"
        yield Check("E4-forward", name, shared | {"Delta": spread}, forward)
        yield Check("E5-sound", name, shared | {"Delta": spread}, forward)
        yield Check("E4-antithetic", name, shared | {"V": spread**2 / 4}, antithetic)
    oracle = two_valued_oracle(linear(np.zeros(D)), spread)
    noise = second_moment("antithetic", 1, MU, oracle, origin, SAMPLES)
    yield Check("E4-noise", "zero loss, two losses", {"d": D, "mu": MU, "Delta": spread}, noise)
    yield Check("E4-popoviciu", "two losses", {"Delta": spread}, loss_variance(oracle, np.zeros(D), 0, SAMPLES))


def _diversity() -> Iterator[Check]:
    """A linear loss behind a pool of shifts: along the slope, where the bounds are reached, and at random."""
    slope = np.full(D, 0.5)
    rng = np.random.default_rng(3)
    pools = {
        "two shifts along the slope": np.outer([1.0, -1.0], slope),
        "five random shifts": rng.normal(size=(5, D)),
    }
    for name, shifts in pools.items():
        oracle, lipschitz = pool_oracle(linear(slope), shifts), float(np.linalg.norm(slope))
        distances = np.linalg.norm(shifts[:, None] - shifts[None], axis=-1)
        root_mean_square = float(np.sqrt(np.mean(distances**2)))
        yield Check(
            "E4-diversity",
            f"linear, {name}",
            {"L0f": lipschitz, "nu2": root_mean_square},
            loss_variance(oracle, np.zeros(D), 0, SAMPLES),
        )
        values = {"nu": float(distances.max()), "K": len(shifts)}
        yield Check("E4-pairs", name, values, _mean_square_distance(shifts))
        losses = shifts @ slope
        yield Check(
            "E4-popoviciu",
            f"linear, {name}",
            {"Delta": float(np.ptp(losses))},
            loss_variance(oracle, np.zeros(D), 0, SAMPLES),
        )


def _recalled() -> Iterator[Check]:
    """The recalled form on the cone, on either side of its threshold, and its image-level readings."""
    threshold = find("E5-threshold")(d=D)
    for share in (0.5, 8.0):
        spread = share * threshold * MU
        measure = second_moment("forward", 1, MU, two_valued_oracle(cone(D, 1.0), spread), np.zeros(D), 4 * SAMPLES)
        name = f"cone, two losses, ν at {share:g} × threshold"
        yield Check("E5-loss", name, {"d": D, "mu": MU, "L0": 1.0, "nu": spread}, measure)
    slope = np.full(D, 2.0)
    lipschitz, shift = float(np.linalg.norm(slope)), 0.05 * np.ones(D)
    shifts = np.stack([shift, -shift])
    measure = second_moment("forward", 1, MU, pool_oracle(linear(slope), shifts), np.zeros(D), SAMPLES)
    image = {"d": D, "mu": MU, "nu": float(2 * np.linalg.norm(shift))}
    name = "linear, two shifts along the slope"
    yield Check("E5-image", name, image | {"L0f": lipschitz, "L0m": 1.0}, measure)
    yield Check("E5-mixed", name, image | {"L0": 1.0}, measure)
    yield Check("E5-threshold", "cone, d = 3", {"d": 3}, _threshold(3))
    yield Check("E5-factor", "cone, no noise", {"d": D}, _violation(D))


def _mean_square_distance(shifts: np.ndarray) -> Measure:
    points = jnp.asarray(shifts, jnp.float32)

    def statistic(key):
        i, j = jax.random.randint(key, (2,), 0, len(shifts))
        return jnp.sum((points[i] - points[j]) ** 2)

    return sampled(statistic, SAMPLES)


def _cone_moment(d: int, half_spread: float, samples: int) -> Measure:
    return second_moment("forward", 1, 1.0, two_valued_oracle(cone(d, 1.0), half_spread), np.zeros(d), samples)


def _threshold(d: int) -> Measure:
    """The r at which the measured moment d(s + n r²) meets d(4r² + 4r√d + d), s and n measured apart."""

    def measure(key) -> Estimate:
        signal = _cone_moment(d, 0.0, 10 * SAMPLES)(key)
        noise = second_moment("forward", 1, 1.0, two_valued_oracle(linear(np.zeros(d)), 1.0), np.zeros(d), SAMPLES)(key)
        excess, curvature = signal.value / d - d, 4 - noise.value / d
        root = np.sqrt(16 * d + 4 * curvature * excess)
        r = (root - 4 * np.sqrt(d)) / (2 * curvature)
        error = np.hypot(signal.standard_error / d / root, r**2 * noise.standard_error / d / root)
        return Estimate(float(r), float(error))

    return measure


def _violation(d: int) -> Measure:
    """Measured second moment over E5-loss on the noiseless cone, where the violation is largest."""

    def measure(key) -> Estimate:
        moment = _cone_moment(d, 0.0, 2 * SAMPLES)(key)
        limit = find("E5-loss")(d=d, mu=1.0, L0=1.0, nu=0.0)
        return Estimate(moment.value / limit, moment.standard_error / limit)

    return measure
