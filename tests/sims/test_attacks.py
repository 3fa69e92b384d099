"""Contracts of every attack in the table, asserted on one compiled run each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.table import ATTACKS, AttackOptions, build_attack
from sims.engine import Schedule, run_attack
from sims.oracle import loss_oracle
from sims.slots import EXHAUSTED, FOOLED
from tests.sims.victims_for_tests import SHAPE, images, labels_of, linear_classifier, no_defense

COUNT, BUDGET = 24, 120
CLASSIFIER, IMAGES = linear_classifier(), images(COUNT)
LABELS = labels_of(CLASSIFIER, IMAGES)
EPSILON = {"linf": 0.06, "l2": 0.35}
QUERIES_PER_STEP = {"nes": 2 * 4 + 1, "square": 1, "null": 1}


def options(norm):
    return AttackOptions(norm, EPSILON[norm], BUDGET, 0.05, 4, EPSILON[norm] / 4, 0.5)


@pytest.fixture(scope="module", params=[(name, norm) for name in ATTACKS for norm in EPSILON], ids="-".join)
def finished(request):
    """One run of one attack: (name, norm, attack, result)."""
    name, norm = request.param
    attack = build_attack(name, options(norm))
    oracle = loss_oracle(CLASSIFIER, no_defense())
    schedule = Schedule(BUDGET, 16, 8)
    return (
        name,
        norm,
        attack,
        run_attack(jax.random.key(0), attack, oracle, IMAGES, LABELS, np.arange(COUNT), schedule),
    )


def test_contract(finished):
    name, norm, _attack, result = finished
    distance = (result.images - IMAGES).reshape(COUNT, -1)
    length = np.abs(distance).max(axis=1) if norm == "linf" else np.linalg.norm(distance, axis=1)
    assert (length <= EPSILON[norm] * (1 + 1e-5)).all()
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert result.queries.max() <= BUDGET
    fooled = labels_of(CLASSIFIER, result.images) != LABELS
    assert np.array_equal(fooled, result.success)
    assert set(result.status) <= {FOOLED, EXHAUSTED}
    steps = result.queries[result.status == EXHAUSTED]
    assert (steps > BUDGET - QUERIES_PER_STEP[name]).all()
    assert (result.queries % QUERIES_PER_STEP[name] == 0).all()


def test_it_breaks_what_it_should(finished):
    name, _, _, result = finished
    assert result.success.mean() > 0.4 if name != "null" else not result.success.any()


def test_state_keeps_its_types(finished):
    _, _, attack, _ = finished
    key, image, label = jax.random.key(0), jnp.asarray(IMAGES[0]), jnp.int32(LABELS[0])
    before = jax.eval_shape(attack.init, key, image, label)
    queries = jax.eval_shape(attack.ask, key, before)
    assert queries.images.shape == (attack.width, *SHAPE)
    assert queries.needed.shape == (attack.width,)
    oracle = loss_oracle(CLASSIFIER, no_defense())
    keys = jax.random.split(key, attack.width)
    answer = jax.eval_shape(oracle.query, oracle.params, keys, queries.images, jnp.zeros(attack.width, jnp.int32))
    after = jax.eval_shape(attack.tell, before, queries, answer)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), before) == jax.tree.map(lambda a: (a.shape, a.dtype), after)
    assert {"image", "success"} <= set(before._fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "l1"}, "norm must be linf or l2, got 'l1'"),
        ({"epsilon": -0.1}, "epsilon must be > 0 and finite, got -0.1"),
        ({"query_budget": 0}, "query_budget must be >= 1, got 0"),
        ({"initial_fraction": 1.5}, r"initial_fraction must be in \(0, 1\], got 1.5"),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        build_attack("square", AttackOptions(**change))


def test_bad_nes_options_are_named():
    with pytest.raises(ValueError, match=r"smoothing_radius must be > 0 and finite, got -0\.1"):
        build_attack("nes", AttackOptions(smoothing_radius=-0.1))
    with pytest.raises(ValueError, match="step_size must be > 0"):
        build_attack("nes", AttackOptions(step_size=0))
    with pytest.raises(ValueError, match="attack must be one of nes, square, null, got 'neS'"):
        build_attack("neS", AttackOptions())
