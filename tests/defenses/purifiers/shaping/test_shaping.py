"""Shown scores by hand; and that a decision never changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.model import Model
from defenses.options.names import read
from defenses.purifiers.shaping import aaa, dld, random_scale
from defenses.purifiers.shaping.margin import with_margin
from defenses.purifiers.table import DEFENSES

SCORES = jnp.asarray(np.random.default_rng(0).normal(size=(500, 10)) * 8, jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 500)
SHAPING = ("dld", "aaa", "aaa:slope=2", "random-scale")


def model(randomized=False):
    return Model("scores", (), lambda params, keys, scores: scores, 10, randomized)


def shown(text, scores=SCORES, keys=KEYS):
    choice = read("defense", text, DEFENSES)
    return choice.row.build(choice.settings, None)(model()).scores((), keys, scores)


def margins(scores):
    ordered = np.sort(np.asarray(scores, np.float64), axis=1)
    return ordered[:, -1] - ordered[:, -2]


@pytest.mark.parametrize("text", SHAPING)
def test_a_decision_never_changes(text):
    """Also where the shown margin would be nothing."""
    tied = SCORES.at[:, 0].set(SCORES.max(axis=1) + 1e-3)
    for scores in (SCORES, tied):
        np.testing.assert_array_equal(shown(text, scores).argmax(axis=1), scores.argmax(axis=1))


@pytest.mark.parametrize("text", SHAPING[:3])
def test_the_highest_score_alone_moves(text):
    changed = np.asarray(shown(text) != SCORES)
    top = np.arange(10) == np.asarray(SCORES.argmax(axis=1))[:, None]
    assert not changed[~top].any()
    assert changed[top].mean() > 0.9


def test_dld_on_margins_worked_out_by_hand():
    """τ = 6, h = 0.3, dashes of 0.24: 0.12 and 6.12 lie on the first dash of an interval, 0.36 on the second."""
    found = dld.shown(dld.Dld(), jnp.array([0.12, 0.36, 6.12, 5.88]))
    np.testing.assert_allclose(
        found, [1.8 + 0.7 * 0.12, 1.8 - 0.3 * 0.36, 7.8 + 0.7 * 0.12, 1.8 + 0.7 * 5.88], rtol=1e-5
    )


def test_dld_rises_by_a_fifth_in_the_mean():
    """Its slope is 1 − h on 13 of the 25 dashes of an interval and −h on the others; at random places (1 − 2h)/2."""
    at = jnp.linspace(0.001, 5.999, 20_001)
    slopes = np.asarray(jax.vmap(jax.grad(lambda m: dld.shown(dld.Dld(), m[None])[0]))(at))
    assert sorted(set(np.round(slopes, 5))) == pytest.approx([-0.3, 0.7])
    assert slopes.mean() == pytest.approx((13 * 0.7 - 12 * 0.3) / 25, abs=0.001)


def test_aaa_falls_around_the_middle_of_an_interval():
    np.testing.assert_allclose(aaa.shown(aaa.Aaa(), jnp.array([1.0, 3.0, 5.0, 7.0])), [5, 3, 1, 11], rtol=1e-6)
    np.testing.assert_allclose(aaa.shown(aaa.Aaa(slope=0.5), jnp.array([1.0])), [4.0], rtol=1e-6)


def test_the_margin_that_is_set_is_the_margin_that_is_shown():
    np.testing.assert_allclose(margins(with_margin(SCORES, lambda m: 2 * m + 1)), 2 * margins(SCORES) + 1, rtol=1e-4)


def test_random_factors_are_uniform_and_fresh_in_every_row():
    settings = random_scale.RandomScale(0.5, 2.0)
    scores = random_scale.random_scale(model(), settings).scores((), KEYS, jnp.ones((500, 10)))
    factors = np.asarray(scores[:, 0])
    assert (np.asarray(scores) == factors[:, None]).all()
    assert 0.5 <= factors.min() < 0.55
    assert 1.95 < factors.max() <= 2
    assert abs(factors.mean() - 1.25) < 4 * 1.5 / np.sqrt(12 * 500)


@pytest.mark.parametrize("text", ["dld:dash=0", "dld:interval=-1", "aaa:slope=0", "random-scale:smallest=3"])
def test_settings_outside_their_range_are_refused(text):
    with pytest.raises(ValueError, match="must be"):
        read("defense", text, DEFENSES)
