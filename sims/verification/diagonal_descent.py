"""C1 with a diagonal H, and with a dense one: ZO-SGD against its exact recursion at three dimensions."""

from collections.abc import Iterator

import numpy as np

from sims.verification.check import Check
from sims.verification.walks import (
    MU,
    SIGMA,
    Q,
    late_mean,
    mean_at,
    walk_on,
)
from sims.victims.objectives import diagonal_quadratic, quadratic
from theory import recursion

WIDE = {12: (4096, 8, 30), 64: (512, 8, 30), 784: (96, 16, 20)}  # d: chains, q, steps


def checks() -> Iterator[Check]:
    """Rows of C1 where curvatures differ."""
    yield from _diagonal_floor()
    yield from _recursion()


def _diagonal_floor() -> Iterator[Check]:
    d = 12
    curvatures = np.linspace(0.3, 1.0, d)
    for name in ("forward", "antithetic"):
        objective = diagonal_quadratic(curvatures, np.zeros(d))
        walk = walk_on(curvatures, np.zeros(d), objective, name, (1024, Q, 200))
        values = {"mu": MU, "V": SIGMA**2, "q": Q, "eta": walk.step_size, "h_i": curvatures}
        yield Check(f"C1-diagonal-{name}", "diagonal H", values, late_mean(walk, objective.value))


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
                walk = walk_on(curvatures, start, objective, name, layout)
                noise = getattr(recursion, f"noise_{name}")(curvatures, MU, SIGMA**2)
                _, q, steps = layout
                path = recursion.trajectory(np.ones(d), curvatures, walk.step_size, q, noise, steps - 1)
                values = {"mu": MU, "V": SIGMA**2, "q": q, "eta": walk.step_size}
                arguments = values | {"h_i": curvatures, "s_i": path[-1]}
                measure = mean_at(walk, steps, objective.value)
                yield Check(f"C1-step-{name}", f"{shape}, d = {d}, T = {steps}", arguments, measure)
