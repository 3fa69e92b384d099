"""C1: the recursion against exact quadrature, mpmath and the symbolic statements."""

import itertools

import mpmath
import numpy as np
import pytest

from theory import recursion
from theory.catalogue import find

VARIANTS = {"forward": recursion.noise_forward, "antithetic": recursion.noise_antithetic}
both = pytest.mark.parametrize("variant", VARIANTS)

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(8)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@both
@pytest.mark.parametrize("h", [[0.8], [0.5, 1.4], [0.3, 0.9, 1.7]])
def test_one_step_equals_quadrature_over_the_directions(variant, h):
    """q = 1, a fixed x: E (x − ηg)² by product quadrature, the noise added by its exact second moment."""
    h, mu, V, eta = np.array(h), 0.4, 0.3, 0.2
    x = np.linspace(-0.7, 1.1, h.size)
    u = np.array(list(itertools.product(NODES, repeat=h.size)))
    weights = np.prod(list(itertools.product(WEIGHTS, repeat=h.size)), axis=1)

    def loss(y):
        return 0.5 * np.sum(h * y**2, axis=-1)

    if variant == "forward":
        g, noise = ((loss(x + mu * u) - loss(x)) / mu)[:, None] * u, 2 * V / mu**2
    else:
        g, noise = ((loss(x + mu * u) - loss(x - mu * u)) / (2 * mu))[:, None] * u, V / (2 * mu**2)
    expected = weights @ (x - eta * g) ** 2 + eta**2 * noise
    B = VARIANTS[variant](h, mu, V)
    after = recursion.step(x**2, h, eta, 1, B)
    np.testing.assert_allclose(after, expected, rtol=1e-12)
    bound = find(f"C1-step-{variant}")
    assert bound(q=1, mu=mu, V=V, eta=eta, h_i=h, s_i=x**2) == pytest.approx(0.5 * h @ expected, rel=1e-12)


@both
@pytest.mark.parametrize("q", [1, 5])
def test_statements_agree_with_the_recursion(variant, q):
    h, mu, V, eta = np.linspace(0.2, 1.5, 24), 0.05, 0.02, 0.01
    s0 = np.linspace(2.0, 0.5, 24)
    B = VARIANTS[variant](h, mu, V)
    values = {"q": q, "mu": mu, "V": V, "eta": eta, "h_i": h}
    assert recursion.stable(h, eta, q)
    path = recursion.trajectory(s0, h, eta, q, B, 3)
    assert path.shape == (4, 24)
    assert find(f"C1-step-{variant}")(s_i=s0, **values) == pytest.approx(0.5 * h @ path[1], rel=1e-12)
    floor = recursion.floor(h, eta, q, B)
    np.testing.assert_allclose(recursion.step(floor, h, eta, q, B), floor, rtol=1e-12)
    assert find(f"C1-diagonal-{variant}")(**values) == pytest.approx(0.5 * h @ floor, rel=1e-12)
    assert find(f"C1-diagonal-{variant}").violated(**values) == ()
    late = recursion.trajectory(s0, h, eta, q, B, 20_000)[-1]
    np.testing.assert_allclose(late, floor, rtol=1e-9)


@both
def test_isotropic_quadratic_agrees_with_the_scalar_law(variant):
    d, q, h, mu, V, eta, e0, steps = 12, 3, 0.7, 0.05, 0.02, 0.1, 4.0, 30
    curvatures = np.full(d, h)
    B = VARIANTS[variant](curvatures, mu, V)
    path = recursion.trajectory(np.full(d, e0 / d), curvatures, eta, q, B, steps).sum(axis=1)
    setting = {"d": d, "q": q, "mu": mu, "V": V, "eta": eta, "h": h}
    for t in (0, 1, 7, steps):
        assert find(f"C1-{variant}")(e0=e0, t=t, **setting) == pytest.approx(path[t], rel=1e-12)
    floor = recursion.floor(curvatures, eta, q, B).sum()
    assert find(f"C1-floor-{variant}")(**setting) == pytest.approx(floor, rel=1e-12)
    rate = find("C1-rate")(d=d, q=q, eta=eta, h=h)
    assert (path[5] - floor) / (path[4] - floor) == pytest.approx(rate, rel=1e-9)
    assert find(f"C1-time-{variant}")(e0=e0, e=path[9], **setting) == pytest.approx(9, rel=1e-9)
    assert find(f"C1-diagonal-{variant}")(q=q, mu=mu, V=V, eta=eta, h_i=curvatures) == pytest.approx(h / 2 * floor)


@both
def test_recursion_keeps_float64_accuracy(variant):
    h, mu, V, eta, q, steps = np.linspace(0.2, 1.5, 12), 0.05, 0.02, 0.05, 4, 200
    path = recursion.trajectory(np.linspace(1.0, 3.0, 12), h, eta, q, VARIANTS[variant](h, mu, V), steps)
    with mpmath.workdps(40):
        H, s = [mpmath.mpf(v) for v in h], [mpmath.mpf(v) for v in np.linspace(1.0, 3.0, 12)]
        m, v, n = mpmath.mpf(mu), mpmath.mpf(V), mpmath.mpf(eta)
        trace, squares = sum(H), sum(k**2 for k in H)
        if variant == "forward":
            B = [m**2 / 4 * (trace**2 + 2 * squares + 4 * k * trace + 8 * k**2) + 2 * v / m**2 for k in H]
        else:
            B = [v / (2 * m**2) for _ in H]
        for _ in range(steps):
            S = sum(k**2 * a for k, a in zip(H, s, strict=True))
            s = [(1 - n * k) ** 2 * a + n**2 / q * (k**2 * a + S + b) for k, a, b in zip(H, s, B, strict=True)]
        worst = max(abs(mpmath.mpf(a) / b - 1) for a, b in zip(path[-1], s, strict=True))
    assert worst < 1e-12


@both
@pytest.mark.parametrize("share", [1e-12, 1e-6, 0.3, 1.0, 1.2])
@pytest.mark.parametrize("d", [1, 12, 150528])
def test_the_error_keeps_its_digits_from_tiny_steps_to_beyond_the_stability_limit(variant, share, d):
    bound, setting = find(f"C1-{variant}"), {"d": d, "q": 8, "h": 0.7}
    values = setting | {"eta": share * find("C1-stability")(**setting), "mu": 0.01, "V": 0.03, "e0": 4.0, "t": 50}
    assert bound.violated(**values) == ()
    exact = bound.exact(40, **values)
    assert abs(bound(**values) / exact - 1) < 1e-12
    path = [mpmath.mpf(values["e0"])]
    with mpmath.workdps(40):
        rate = find("C1-rate").exact(40, **setting, eta=values["eta"])
        for _ in range(values["t"]):
            first = bound.exact(40, **{**values, "e0": 0.0, "t": 1})
            path.append(rate * path[-1] + first)
        assert abs(exact / path[-1] - 1) < mpmath.mpf(10) ** -30


@both
@pytest.mark.parametrize("q", [10, 10**6, 10**12])
@pytest.mark.parametrize("t", [0, 1, 3])
def test_the_error_keeps_its_digits_where_a_step_almost_reaches_the_minimiser(variant, q, t):
    """ηh = 1: what is left of the distance is (d+1)/q of it, tiny for many directions."""
    values = {"d": 12, "q": q, "h": 0.5, "eta": 2.0}
    rate = find("C1-rate")
    assert abs(rate(**values) / rate.exact(40, **values) - 1) < 1e-14
    assert rate(**values) == pytest.approx(13 / q, rel=1e-12)
    bound, values = find(f"C1-{variant}"), values | {"mu": 0.01, "V": 0.03, "e0": 4.0, "t": t}
    assert abs(bound(**values) / bound.exact(40, **values) - 1) < 1e-12


def test_stability_limit_separates_decay_from_growth():
    d, q, h = 12, 3, 0.7
    limit = find("C1-stability")(d=d, q=q, h=h)
    curvatures = np.full(d, h)
    assert recursion.stable(curvatures, 0.999 * limit, q)
    assert not recursion.stable(curvatures, 1.001 * limit, q)
    assert find("C1-rate")(d=d, q=q, eta=limit, h=h) == pytest.approx(1, abs=1e-12)
    growing = recursion.trajectory(np.ones(d), curvatures, 1.05 * limit, q, np.zeros(d), 50).sum(axis=1)
    shrinking = recursion.trajectory(np.ones(d), curvatures, 0.95 * limit, q, np.zeros(d), 50).sum(axis=1)
    assert growing[-1] > growing[0]
    assert shrinking[-1] < shrinking[0]
    mixed = np.array([0.1, 3.0, 0.4])
    for eta in np.linspace(0.01, 0.9, 60):
        kept = np.diag((1 - eta * mixed) ** 2 + eta**2 * mixed**2 / 2) + eta**2 / 2 * np.ones((3, 1)) * mixed**2
        assert recursion.stable(mixed, eta, 2) == (np.max(np.abs(np.linalg.eigvals(kept))) < 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recursion.noise_forward(np.ones(3), -1.0, 1.0), "mu must be > 0, got -1.0"),
        (lambda: recursion.noise_antithetic(np.ones(3), 1.0, -1.0), "V must be finite and >= 0, got -1.0"),
        (lambda: recursion.floor(np.ones(3), 5.0, 1, np.ones(3)), "eta must be below the stability limit"),
        (
            lambda: recursion.floor(np.ones(3), 0.1, 1, np.ones(2)),
            r"B must have the shape of h, \(3,\), got \(2,\)",
        ),
        (lambda: recursion.step(np.ones(2), np.ones(3), 0.1, 1, np.ones(3)), "s must have the shape of h"),
        (
            lambda: recursion.step(np.ones(3), np.ones(3), 0.1, 0, np.ones(3)),
            "q must be a positive integer, got 0",
        ),
        (lambda: recursion.stable(np.zeros(3), 0.1, 1), "h must be a non-empty 1-D array"),
        (
            lambda: recursion.trajectory(np.ones(3), np.ones(3), 0.1, 1, np.ones(3), -1),
            "steps must be an integer",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
