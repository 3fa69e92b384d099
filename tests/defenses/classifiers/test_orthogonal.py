"""The orthogonal network's constants, in float64: never violated, not absurdly loose."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses import zoo
from defenses.classifiers import orthogonal
from defenses.evaluation import accuracy
from defenses.model import defended
from defenses.purifiers.transforms.identity import identity


@pytest.fixture(scope="module")
def network(folders):
    return zoo.classifier("orthogonal", folders=folders)


@pytest.fixture(scope="module")
def constants(network):
    return orthogonal.lipschitz_constants(network.params)


@pytest.fixture
def params(network):
    """The params in float64, with 64-bit arithmetic on."""
    with jax.enable_x64(True):
        yield jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), network.params)


def margin(scores, label):
    return scores[label] - jnp.max(jnp.where(jnp.arange(10) == label, -jnp.inf, scores))


def cross_entropy(scores, label):
    return jax.nn.logsumexp(scores) - scores[label]


def points(params, rows=200):
    """Held-out-like, far, and near the first layer's kinks (where φ″ is largest): (3·rows, 8, 8, 1)."""
    rng = np.random.default_rng(0)
    near = rng.normal(0, 0.05, (rows, 64)) - np.asarray(params["first"]["bias"])
    kinks = near @ np.asarray(params["first"]["weight"])
    return np.concatenate([rng.uniform(0, 1, (rows, 64)), rng.normal(0, 100, (rows, 64)), kinks]).reshape(-1, 8, 8, 1)


def scores_at(params, point):
    return orthogonal.logits(params, point[None])[0]


def test_layers_are_orthogonal(network):
    for layer in orthogonal.LAYERS:
        weight = np.asarray(network.params[layer]["weight"], np.float64)
        assert np.abs(weight @ weight.T - np.eye(len(weight))).max() < 1e-6


def test_accuracy(network, held_out):
    assert accuracy(defended(network, identity()), held_out, seed=0).accuracy >= 0.95


def test_constants_are_the_closed_forms(constants):
    scale, softness = orthogonal.Recipe().scale, orthogonal.Recipe().softness
    assert constants.logits_l0 == pytest.approx(scale, rel=1e-6)
    assert constants.logits_l1 == pytest.approx(2 * scale / softness, rel=1e-6)
    assert constants.margin_l0 == pytest.approx(math.sqrt(2) * scale, rel=1e-6)
    assert constants.cross_entropy_l0 == pytest.approx(math.sqrt(2) * scale, rel=1e-6)
    assert constants.cross_entropy_l1 == pytest.approx(scale**2 / 2 + math.sqrt(8) * scale / softness, rel=1e-6)
    assert constants.margin_l1 == math.inf


@pytest.mark.parametrize("distance", [1e-3, 0.1, 3.0])
def test_no_pair_of_points_violates_the_constants(params, constants, distance):
    start = jnp.asarray(points(params))
    step = np.random.default_rng(1).normal(size=start.shape)
    end = start + distance * step / np.sqrt((step**2).sum((1, 2, 3), keepdims=True))

    def slopes(function):
        """‖function(x) − function(y)‖ / ‖x − y‖, operator norm for matrices."""
        evaluate = jax.jit(jax.vmap(function))
        change = np.asarray(evaluate(start) - evaluate(end))
        flat = change.reshape(len(start), -1, 64) if change[0].size > 10 else change.reshape(len(start), -1, 1)
        return np.linalg.norm(flat, 2, axis=(1, 2)) / distance

    assert slopes(lambda x: scores_at(params, x)).max() <= constants.logits_l0
    assert slopes(jax.jacrev(lambda x: scores_at(params, x))).max() <= constants.logits_l1
    for label in (0, 7):
        assert slopes(lambda x, y=label: margin(scores_at(params, x), y)).max() <= constants.margin_l0
        loss = lambda x, y=label: cross_entropy(scores_at(params, x), y)  # noqa: E731
        assert slopes(loss).max() <= constants.cross_entropy_l0
        assert slopes(jax.grad(loss)).max() <= constants.cross_entropy_l1


def test_first_constants_are_nearly_reached(params, constants):
    far = jnp.asarray(points(params))[200:400]
    jacobians = np.asarray(jax.vmap(jax.jacrev(lambda x: scores_at(params, x)))(far)).reshape(200, 10, 64)
    assert np.linalg.norm(jacobians, 2, axis=(1, 2)).max() > 0.95 * constants.logits_l0
    rows = jacobians[:, :, None] - jacobians[:, None]
    assert np.linalg.norm(rows, axis=-1).max() > 0.9 * constants.margin_l0


def test_second_constants_are_not_absurdly_loose(params, constants):
    near = jnp.asarray(points(params))[400:440]
    hessian = jax.jit(jax.vmap(jax.hessian(lambda x: cross_entropy(scores_at(params, x), 0))))
    curvature = np.linalg.norm(np.asarray(hessian(near)).reshape(-1, 64, 64), 2, axis=(1, 2))
    assert curvature.max() > constants.cross_entropy_l1 / 50
