"""C1 with a diagonal H, and with a dense one: ZO-SGD against its exact recursion."""

from collections.abc import Iterator

import numpy as np

from sims.verification.check import Check
from sims.verification.instances import LARGE, SMALL
from sims.verification.walks import (
    FEW,
    MU,
    SIGMA,
    Q,
    late_mean,
    mean_at,
    walk_on,
)
from sims.victims.objectives import diagonal_quadratic, quadratic
from theory import recursion

# in few dimensions with few directions and long steps, so that every term counts
LAYOUTS = {FEW: (600_000, 2, 1), SMALL: (4096, 8, 30), LARGE: (96, 16, 20)}  # d: chains, q, steps
FLOORS = {FEW: (300_000, 2, 30), SMALL: (1024, Q, 200), LARGE: (96, 16, 20)}
STEEPEST, START, SHARE = {FEW: 2.0}, {FEW: 0.4}, {FEW: 0.6}  # else 1, 1 and 0.3: curvature, coordinates, step size


def checks() -> Iterator[Check]:
    """Rows of C1 where curvatures differ."""
    yield from _diagonal_floor()
    yield from _recursion()


def _diagonal_floor() -> Iterator[Check]:
    """The mean objective of late steps, from a start that is about as low as they are."""
    for d, layout in FLOORS.items():
        curvatures = STEEPEST.get(d, 1.0) * np.linspace(0.3, 1.0, d)
        for name in ("forward", "antithetic"):
            objective = diagonal_quadratic(curvatures, np.zeros(d))
            walk = walk_on(curvatures, np.zeros(d), objective, name, layout, SHARE.get(d, 0.3))
            floor = recursion.floor(curvatures, walk.step_size, layout[1], _noise(name, curvatures))
            values = {"mu": MU, "V": SIGMA**2, "q": layout[1], "eta": walk.step_size, "h_i": curvatures}
            measure = late_mean(walk._replace(start=np.sqrt(floor)), objective.value)
            yield Check(f"C1-diagonal-{name}", f"diagonal H, d = {d}", values, measure, slow=d > FEW)


def _noise(name: str, curvatures: np.ndarray) -> np.ndarray:
    return getattr(recursion, f"noise_{name}")(curvatures, MU, SIGMA**2)


def _recursion() -> Iterator[Check]:
    """The objective after T steps is one exact step beyond the recursion's s at T − 1."""
    for d, layout in LAYOUTS.items():
        curvatures, start = STEEPEST.get(d, 1.0) * np.linspace(0.2, 1.0, d), np.full(d, START.get(d, 1.0))
        basis = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]
        dense = (basis * curvatures) @ basis.T
        shapes = {
            "diagonal H": (diagonal_quadratic(curvatures, np.zeros(d)), start),
            "general H": (quadratic(dense, np.zeros(d)), basis @ start),
        }
        for name in ("forward", "antithetic"):
            for shape, (objective, begin) in shapes.items():
                walk = walk_on(curvatures, begin, objective, name, layout, SHARE.get(d, 0.3))
                _, q, steps = layout
                noise = _noise(name, curvatures)
                path = recursion.trajectory(start**2, curvatures, walk.step_size, q, noise, steps - 1)
                values = {"mu": MU, "V": SIGMA**2, "q": q, "eta": walk.step_size}
                arguments = values | {"h_i": curvatures, "s_i": path[-1]}
                measure = mean_at(walk, steps, objective.value)
                instance = f"{shape}, d = {d}, T = {steps}"
                yield Check(f"C1-step-{name}", instance, arguments, measure, slow=d > FEW or shape == "general H")
