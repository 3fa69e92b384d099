"""C1 along the eigenvectors of a diagonal Hessian: the exact recursion of s_i = E x_i² in float64 numpy.

F̄ = ½ Σ h_i x_i², V constant, x ↦ x − ηḡ with ḡ the average of q Gaussian directions:
s_i⁺ = (1−ηh_i)² s_i + (η²/q)[h_i² s_i + Σ_j h_j² s_j + B_i].
"""

import numpy as np


def noise_forward(h: np.ndarray, mu: float, V: float) -> np.ndarray:
    """Return B_i = (μ²/4)(tr² + 2 tr H² + 4h_i tr + 8h_i²) + 2V/μ² of the forward estimate.

    h: (d,) eigenvalues; mu: smoothing radius > 0; V: loss-level variance ≥ 0. ValueError outside.
    """
    h = _eigenvalues(h)
    _positive("mu", mu)
    _nonnegative("V", V)
    trace = h.sum()
    return mu**2 / 4 * (trace**2 + 2 * (h @ h) + 4 * h * trace + 8 * h**2) + 2 * V / mu**2


def noise_antithetic(h: np.ndarray, mu: float, V: float) -> np.ndarray:
    """Return B_i = V/(2μ²) of the antithetic estimate; arguments and errors as for `noise_forward`."""
    h = _eigenvalues(h)
    _positive("mu", mu)
    _nonnegative("V", V)
    return np.full(h.shape, V / (2 * mu**2))


def step(s: np.ndarray, h: np.ndarray, eta: float, q: int, B: np.ndarray) -> np.ndarray:
    """Return the second moments after one step.

    s, h, B: (d,) second moments ≥ 0, eigenvalues > 0 and noises; eta: step size > 0; q: directions per step.
    Raises ValueError for shapes that differ or values outside these ranges.
    """
    h, s, B = _eigenvalues(h), np.asarray(s, np.float64), np.asarray(B, np.float64)
    _positive("eta", eta)
    _count("q", q)
    for name, array in (("s", s), ("B", B)):
        if array.shape != h.shape:
            raise ValueError(f"{name} must have the shape of h, {h.shape}, got {array.shape}")
        _nonnegative(name, array)
    return (1 - eta * h) ** 2 * s + eta**2 / q * (h**2 * s + h**2 @ s + B)


def trajectory(s0: np.ndarray, h: np.ndarray, eta: float, q: int, noise: np.ndarray, steps: int) -> np.ndarray:
    """Return the second moments at steps 0 .. `steps`, (steps + 1, d); `noise` is B_i, as for `step`."""
    if steps < 0 or steps != int(steps):
        raise ValueError(f"steps must be an integer >= 0, got {steps!r}")
    rows = [np.asarray(s0, np.float64)]
    for _ in range(int(steps)):
        rows.append(step(rows[-1], h, eta, q, noise))
    return np.stack(rows)


def stable(h: np.ndarray, eta: float, q: int) -> bool:
    """Return whether there is a floor: all ηh_i(1+1/q) < 2 and A = (η/q)Σ h_j/(2−ηh_j(1+1/q)) < 1."""
    h = _eigenvalues(h)
    _positive("eta", eta)
    _count("q", q)
    slack = 2 - eta * h * (1 + 1 / q)
    return bool(np.all(slack > 0) and eta / q * np.sum(h / slack) < 1)


def floor(h: np.ndarray, eta: float, q: int, B: np.ndarray) -> np.ndarray:
    """Return the limit s_i = (η/q)(S + B_i)/(h_i(2−ηh_i(1+1/q))), (d,); raises ValueError if not stable."""
    if not stable(h, eta, q):
        raise ValueError(f"eta must be below the stability limit of h and q, got eta={eta!r}, q={q!r}")
    h, B = _eigenvalues(h), np.asarray(B, np.float64)
    if B.shape != h.shape:
        raise ValueError(f"B must have the shape of h, {h.shape}, got {B.shape}")
    slack = 2 - eta * h * (1 + 1 / q)
    amplification = eta / q * np.sum(h / slack)
    weighted_sum = eta / q * np.sum(h * B / slack) / (1 - amplification)
    return eta / q * (weighted_sum + B) / (h * slack)


def _eigenvalues(h: np.ndarray) -> np.ndarray:
    h = np.asarray(h, np.float64)
    if h.ndim != 1 or h.size == 0 or not np.all((h > 0) & np.isfinite(h)):
        raise ValueError(f"h must be a non-empty 1-D array of finite numbers > 0, got {h!r}")
    return h


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be > 0, got {value!r}")


def _nonnegative(name: str, value: float | np.ndarray) -> None:
    if not np.all(np.isfinite(value) & (np.asarray(value) >= 0)):
        raise ValueError(f"{name} must be finite and >= 0, got {value!r}")


def _count(name: str, value: int) -> None:
    if value < 1 or value != int(value):
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
