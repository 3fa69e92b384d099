"""Direction moments against enumeration and quadrature that share nothing with their formulas."""

import itertools

import numpy as np
import pytest

from theory.catalogue import find
from theory.direction_moments import (
    coordinate,
    d,
    gaussian,
    gaussian_by_generating_function,
    rademacher,
    sphere,
)

MOMENTS = [
    ((2,), 0),
    ((4,), 0),
    ((2, 2), 0),
    ((2,), 1),
    ((4,), 1),
    ((2, 2), 1),
    ((6,), 0),
    ((), 2),
    ((1, 3), 0),
    ((1,), 1),
]
DIMENSIONS = [2, 3]


def gaussian_points(dimension: int, nodes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Product quadrature, exact for polynomials of degree below 2·nodes in each coordinate."""
    x, weight = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.array(list(itertools.product(x, repeat=dimension)))
    weights = np.prod(list(itertools.product(weight / weight.sum(), repeat=dimension)), axis=1)
    return points, weights


def sphere_points(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact low-degree quadrature on the sphere of radius √d: equal angles, Gauss–Legendre heights."""
    angles = 2 * np.pi * np.arange(16) / 16
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if dimension == 2:
        return np.sqrt(2) * circle, np.full(16, 1 / 16)
    z, weight = np.polynomial.legendre.leggauss(8)
    points = [(*(np.sqrt(1 - height**2) * turn), height) for height in z for turn in circle]
    return np.sqrt(3) * np.array(points), np.repeat(weight / 2, 16) / 16


def rademacher_points(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    points = np.array(list(itertools.product([-1.0, 1.0], repeat=dimension)))
    return points, np.full(len(points), 1 / len(points))


def coordinate_points(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    points = np.sqrt(dimension) * np.concatenate([np.eye(dimension), -np.eye(dimension)])
    return points, np.full(len(points), 1 / len(points))


LAWS = [
    pytest.param(gaussian, gaussian_points, "E1-gaussian", id="gaussian"),
    pytest.param(sphere, sphere_points, "E1-sphere", id="sphere"),
    pytest.param(rademacher, rademacher_points, "E1-rademacher", id="rademacher"),
    pytest.param(coordinate, coordinate_points, "E1-coordinate", id="coordinate"),
]


@pytest.mark.parametrize(("moment", "points_of", "label"), LAWS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize(("powers", "norm_power"), MOMENTS)
def test_moment_equals_quadrature(moment, points_of, label, dimension, powers, norm_power):
    points, weights = points_of(dimension)
    integrand = np.sum(points**2, axis=1) ** norm_power
    for axis, power in enumerate(powers):
        integrand = integrand * points[:, axis] ** power
    expected = weights @ integrand
    symbolic = moment(powers, norm_power)
    value = float(symbolic.subs(d, dimension))
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("moment", "points_of", "label"), LAWS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_mean_estimate_on_the_cubic_equals_quadrature(moment, points_of, label, dimension):
    mu, c, kappa = 0.7, 0.45, 1.9
    points, weights = points_of(dimension)

    def loss(x: np.ndarray) -> np.ndarray:
        return np.sum(c * x + kappa * x**3 / 6, axis=1)

    estimate = ((loss(mu * points) - loss(-mu * points)) / (2 * mu))[:, None] * points
    values = {"d": dimension, "mu": mu, "c": c, "kappa": kappa}
    bound = find(label)
    expected = bound(**{name: values[name] for name in bound.parameters})
    np.testing.assert_allclose(weights @ estimate, expected, rtol=1e-12)


@pytest.mark.parametrize(("powers", "norm_power"), [case for case in MOMENTS if not any(p % 2 for p in case[0])])
def test_generating_function_gives_the_closed_form(powers, norm_power):
    difference = gaussian_by_generating_function(powers, norm_power).doit() - gaussian(powers, norm_power)
    assert difference.expand() == 0


def test_the_four_means_differ():
    values = {"d": 12, "mu": 0.3, "c": 0.0, "kappa": 1.0}
    means = [find(f"E1-{law}") for law in ("gaussian", "sphere", "rademacher", "coordinate")]
    numbers = [bound(**{name: values[name] for name in bound.parameters}) for bound in means]
    assert len({round(number, 12) for number in numbers}) == 4
