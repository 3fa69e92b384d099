"""E4: upper bounds on the second moment, on instances that reach them."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from sims.verification.check import Check, Measure, loss_variance, sampled
from sims.verification.instances import second_moment
from sims.victims.objectives import Objective, cone, linear, log_sum_exp, pool_oracle, two_valued_oracle
from sims.victims.oracle import Oracle

D, MU, SAMPLES, SPREAD = 12, 0.4, 60_000, 0.8


def checks() -> Iterator[Check]:
    """Rows of E4."""
    yield from _lipschitz()
    yield from _diversity()


def two_losses() -> Iterator[tuple[Objective, Oracle, str]]:
    """Two equally likely losses SPREAD apart on the cone, the linear loss and log-sum-exp, and what each is called."""
    for objective in (cone(D, 1.2), linear(np.full(D, 0.3)), log_sum_exp(D, 2.0)):
        yield objective, two_valued_oracle(objective, SPREAD), f"{objective.name}, two losses"


def _lipschitz() -> Iterator[Check]:
    origin = np.zeros(D)
    for objective, oracle, name in two_losses():
        shared = {"d": D, "mu": MU, "L0": objective.lipschitz}
        forward = second_moment("forward", 1, MU, oracle, origin, SAMPLES)
        yield Check("E4-forward", name, shared | {"Delta": SPREAD}, forward)
        antithetic = second_moment("antithetic", 1, MU, oracle, origin, SAMPLES)
        yield Check("E4-antithetic", name, shared | {"V": SPREAD**2 / 4}, antithetic)
    oracle = two_valued_oracle(linear(np.zeros(D)), SPREAD)
    noise = second_moment("antithetic", 1, MU, oracle, origin, SAMPLES)
    yield Check("E4-noise", "zero loss, two losses", {"d": D, "mu": MU, "Delta": SPREAD}, noise)
    yield Check("E4-popoviciu", "two losses", {"Delta": SPREAD}, loss_variance(oracle, origin, 0, SAMPLES))


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


def _mean_square_distance(shifts: np.ndarray) -> Measure:
    points = jnp.asarray(shifts, jnp.float32)

    def statistic(key):
        i, j = jax.random.randint(key, (2,), 0, len(shifts))
        return jnp.sum((points[i] - points[j]) ** 2)

    return sampled(statistic, SAMPLES)
