"""Local constants against known ones: from below, and reached."""

import jax.numpy as jnp
import numpy as np
import pytest

from defenses import zoo
from defenses.classifiers.orthogonal import lipschitz_constants
from defenses.data import digits
from defenses.files.folders import Folders
from defenses.model import undefended
from defenses.purifiers.pools.family import family_of
from defenses.purifiers.pools.shift import shift_family
from sims.measurements import lipschitz as local_lipschitz
from sims.measurements.lipschitz import hessian_norms, jacobian_norms
from sims.verification.networks import curvature_row

RNG = np.random.default_rng(3)


def matrix_map(params, x):
    return params @ x.reshape(-1)


def curved(params, x):
    return x @ params @ x / 2


def test_jacobian_norm_of_a_linear_map_is_its_largest_singular_value():
    matrix = RNG.normal(size=(7, 12)).astype(np.float32)
    points = RNG.normal(size=(5, 3, 4)).astype(np.float32)
    found, exact = jacobian_norms(matrix_map, jnp.asarray(matrix), points), np.linalg.norm(matrix, 2)
    assert found.shape == (5,)
    np.testing.assert_allclose(found, exact, rtol=1e-3)
    assert (found <= exact * (1 + 1e-5)).all()


def test_hessian_norm_is_the_largest_eigenvalue_by_size_also_when_negative():
    hessian = np.diag([-3.0, 2.0, 0.5, 0.1]).astype(np.float32)
    found = hessian_norms(curved, jnp.asarray(hessian), np.ones((2, 4), np.float32))
    np.testing.assert_allclose(found, 3, rtol=1e-3)


def test_negative_control_without_iteration_the_norm_is_missed(monkeypatch):
    monkeypatch.setattr(local_lipschitz, "STEPS", 1)
    matrix = np.diag([10.0] + [0.1] * 99).astype(np.float32)
    assert jacobian_norms(matrix_map, jnp.asarray(matrix), np.ones((1, 100), np.float32))[0] < 5


@pytest.mark.parametrize("count", [1, 64, 70])
def test_every_point_is_measured_once(count):
    scales = np.linspace(1, 2, count).astype(np.float32)[:, None]
    found = jacobian_norms(lambda params, x: x[:1] ** 2 / 2, None, scales)
    np.testing.assert_allclose(found, scales[:, 0], rtol=1e-5)


def test_estimates_stay_below_the_certified_constants_of_the_orthogonal_network(models):
    network = undefended(zoo.classifier("orthogonal", "digits", 0, Folders(models=models)))
    known = lipschitz_constants(network.params)
    test = digits.load().test
    cloud = test.images[:8] + RNG.normal(size=(8, 8, 8, 1)).astype(np.float32) / 10
    slope = local_lipschitz.margin_slope(network, cloud, int(test.labels[0]))
    curvature = local_lipschitz.likelihood_curvature(network, cloud, int(test.labels[0]))
    assert known.margin_l0 / 4 < slope <= known.margin_l0
    assert known.cross_entropy_l1 / 100 < curvature <= known.cross_entropy_l1


def test_a_relu_network_has_no_curvature():
    """L₁ of its log-likelihood does not exist: `verify` leaves it out and says so."""
    assert not zoo.is_smooth("cnn")
    assert zoo.is_smooth("orthogonal")
    row = curvature_row("cnn on digits", None)
    assert row["value"] is None
    assert "does not exist: ReLU" in row["note"]


def test_pool_slope_is_that_of_the_steepest_member():
    points = RNG.uniform(size=(3, 2, 2, 1)).astype(np.float32)
    shifts = shift_family(jnp.asarray(RNG.normal(size=(3, 2, 2, 1)), jnp.float32))
    assert local_lipschitz.pool_slope(shifts, points) == pytest.approx(1)
    scales = family_of("scale", jnp.array([0.5, 3.0, 1.0]), lambda scale, x: scale * x, 3)
    assert local_lipschitz.pool_slope(scales, points) == pytest.approx(3)
