"""Stopping rules and N-evaluation on a victim that errs by a coin, where every probability is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.classifier import Classifier
from defenses.defense import Defense
from defenses.model import defended
from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, read_attack
from sims.engine.run import Schedule, run_attack
from sims.engine.stopping import StoppingRule, stopping_rule
from sims.measurements.fresh_draws import times_fooled
from sims.victims.oracle import oracle_of
from tests.sims.small_victims import SHAPE

P, COUNT, BUDGET = 0.4, 1500, 6
IMAGES, LABELS = np.full((COUNT, *SHAPE), 0.5, np.float32), np.zeros(COUNT, np.int32)


def coin() -> Defense:
    def apply(params, keys, x):
        heads = jax.vmap(lambda key: jax.random.bernoulli(key, P))(keys)
        return jnp.where(heads[:, None, None, None], 1.0, 0.0) * jnp.ones_like(x)

    return Defense("coin", (), apply, True)


def reader() -> Classifier:
    """Class 1 where the coin shows heads."""
    return Classifier("reader", (), lambda _, x: jnp.stack([1 - x[:, 0, 0, 0], x[:, 0, 0, 0]], -1), SHAPE, 2, True)


ORACLE = oracle_of(defended(reader(), coin()), "loss")


def fallen(rule: StoppingRule, budget: int) -> float:
    """Probability that the null attack ends an image within the budget, by recursion over what a query can show."""

    def vote(left: int, for_it: int, against: int) -> float:
        if for_it >= rule.needed:
            return 1.0
        if against > rule.draws - rule.needed:
            return look(left)
        return (
            0.0
            if left == 0
            else P * vote(left - 1, for_it + 1, against) + (1 - P) * vote(left - 1, for_it, against + 1)
        )

    def look(left: int) -> float:
        if left == 0:
            return 0.0
        return P * vote(left - 1, 0, 0) + (1 - P) * look(left - 1)

    return look(budget)


@pytest.mark.parametrize(
    "name", ["first-success", "re-evaluation", pytest.param("majority:3", marks=pytest.mark.slow), "majority:4"]
)
def test_the_null_attack_falls_as_often_as_the_rule_says(name):
    attack, schedule = (
        build_attack(read_attack("null"), Threat(query_budget=BUDGET)),
        Schedule(BUDGET, 128, 128, stopping=stopping_rule(name)),
    )
    result = run_attack(jax.random.key(5), attack, ORACLE, IMAGES, LABELS, np.arange(COUNT), schedule)
    expected = fallen(stopping_rule(name), BUDGET)
    error = np.sqrt(expected * (1 - expected) / COUNT)
    assert abs(result.success.mean() - expected) < 4 * error
    assert 0.1 < expected < 0.99
    assert abs(fallen(stopping_rule("first-success"), BUDGET) - expected) > 8 * error or name == "first-success"
    assert result.queries.sum() == result.evaluated
    assert (result.queries[~result.success] == BUDGET).all()
    assert result.queries[result.success].min() == {"first-success": 1, "re-evaluation": 2}.get(
        name, 1 + stopping_rule(name).needed
    )


def test_rules_by_hand():
    assert stopping_rule("first-success") == StoppingRule(0, 0)
    assert stopping_rule("re-evaluation") == StoppingRule(1, 1)
    assert stopping_rule("majority:5") == StoppingRule(5, 3)
    assert stopping_rule("majority:4") == StoppingRule(4, 3)


@pytest.mark.parametrize("name", ["first", "majority", "majority:0", "majority:x", "majority:-3", "majority:1e9", ""])
def test_an_unknown_rule_is_named(name):
    with pytest.raises(ValueError, match="stopping must be first-success, re-evaluation or majority:N"):
        Schedule(10, stopping=stopping_rule(name))


def test_fresh_draws_follow_the_coin():
    draws, key = 20, jax.random.key(2)
    fooled = times_fooled(key, ORACLE, IMAGES[:1003], LABELS[:1003], draws, 64)
    assert fooled.shape == (1003,)
    assert abs(fooled.mean() / draws - P) < 4 * np.sqrt(P * (1 - P) / (draws * 1003))
    assert fooled.var() == pytest.approx(draws * P * (1 - P), rel=0.2)  # draws of one image are independent
    assert np.array_equal(times_fooled(key, ORACLE, IMAGES[:1003], LABELS[:1003], draws, 64), fooled)
