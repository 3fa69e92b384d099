"""What a white-box attacker is shown, against closed forms: routes, expectation over draws, losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.defense import Defense
from defenses.model import defended
from sims.white_box.gradients import gradient_oracle
from sims.white_box.losses import cross_entropy, dlr, dlr_targeted
from tests.sims.small_victims import SHAPE, images, labels_of, linear_classifier, no_defense, noise

VICTIM = linear_classifier()
IMAGES = images(6)
GOALS = jnp.stack([jnp.asarray(labels_of(VICTIM, IMAGES)), jnp.zeros(6, jnp.int32)], axis=1)
MATRIX = np.random.default_rng(5).normal(size=(36, 36)).astype(np.float32) / 6


def linear_defense() -> Defense:
    def apply(params, keys, x):
        return (x.reshape(len(x), -1) @ params).reshape(x.shape)

    return Defense("linear", jnp.asarray(MATRIX), apply, False)


def score_of_label(scores, goals):
    """Linear in the inverse of the victim's tanh: its gradient is a column of the weights."""
    return 6 * jnp.arctanh(jnp.take_along_axis(scores, goals[:, :1], axis=-1)[:, 0])


def slope(defense, route, draws=1, loss=score_of_label, key=0, copies=1):
    """The answer at every image, or at so many copies of all images."""
    oracle = gradient_oracle(defended(VICTIM, defense), loss, route, draws)
    keys = oracle.draw(jax.random.key(key), copies * len(IMAGES))
    return oracle.query(oracle.params, keys, jnp.tile(IMAGES, (copies, 1, 1, 1)), jnp.tile(GOALS, (copies, 1)))


def test_routes_are_the_chain_rule_the_identity_and_no_defense():
    columns = np.asarray(VICTIM.params).T[np.asarray(GOALS[:, 0])]
    expected = {"through": columns @ MATRIX.T, "around": columns, "blind": columns}
    behind = IMAGES.reshape(6, -1) @ MATRIX
    values = {"through": behind, "around": behind, "blind": IMAGES.reshape(6, -1)}
    for route, gradients in expected.items():
        answer = slope(linear_defense(), route)
        np.testing.assert_allclose(answer.value.gradient, gradients.reshape(6, *SHAPE), rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(answer.value.loss, (values[route] * columns).sum(axis=1), rtol=1e-3, atol=1e-4)
    assert not np.allclose(expected["through"], columns, atol=0.1)  # or the routes could not be told apart


def test_draws_are_averaged_before_any_sign():
    """A defence that turns the image round with probability 1/4, and then counts five times: the mean is negative."""

    def apply(params, keys, x):
        turned = jax.vmap(lambda key: jax.random.bernoulli(key, 0.25))(keys)
        return jnp.where(turned[:, None, None, None], -5 * x / 20, x / 20)

    flips = Defense("flips", (), apply, True)
    columns = np.asarray(VICTIM.params).T[np.asarray(GOALS[:, 0])].reshape(6, *SHAPE)
    mean = np.asarray(slope(flips, "through", 400).value.gradient)
    assert (np.sign(mean) == -np.sign(columns)).all()
    one_draw_each = np.asarray(slope(flips, "through", 1, copies=60).value.gradient)
    signs = np.sign(one_draw_each).reshape(60, *IMAGES.shape).mean(axis=0)
    assert (np.sign(signs) == np.sign(columns)).mean() > 0.95  # the mean of the signs points the other way


def test_selective_eot_takes_the_mean_of_the_draws_of_least_loss():
    draws, victim = 7, noise(0.3)
    oracle = gradient_oracle(defended(VICTIM, victim), cross_entropy, "through", draws, 0.3)
    keys = oracle.draw(jax.random.key(3), len(IMAGES))
    answer = oracle.query(oracle.params, keys, jnp.asarray(IMAGES), GOALS)
    each = jax.vmap(lambda key: jax.random.split(key, draws))(keys)
    once = gradient_oracle(defended(VICTIM, victim), cross_entropy, "through")
    parts = [once.query(once.params, each[:, i], jnp.asarray(IMAGES), GOALS) for i in range(draws)]
    losses = np.array([part.value.loss for part in parts])
    gradients = np.array([part.value.gradient for part in parts])
    for row in range(len(IMAGES)):
        least = np.argsort(losses[:, row])[:3]  # 0.3 of 7, rounded up
        np.testing.assert_allclose(answer.value.loss[row], losses[least, row].mean(), rtol=1e-5)
        np.testing.assert_allclose(answer.value.gradient[row], gradients[least, row].mean(axis=0), rtol=1e-5, atol=1e-6)
    counted = np.sum([part.fooled for part in parts], axis=0)
    assert (np.asarray(answer.fooled) == (2 * counted > draws)).all()  # of all draws


def test_the_mean_is_that_of_the_draws():
    draws, victim = 7, noise(0.3)
    oracle = gradient_oracle(defended(VICTIM, victim), cross_entropy, "through", draws)
    keys = oracle.draw(jax.random.key(3), len(IMAGES))
    answer = oracle.query(oracle.params, keys, jnp.asarray(IMAGES), GOALS)
    each = jax.vmap(lambda key: jax.random.split(key, draws))(keys)
    once = gradient_oracle(defended(VICTIM, victim), cross_entropy, "through")
    parts = [once.query(once.params, each[:, i], jnp.asarray(IMAGES), GOALS) for i in range(draws)]
    for got, want in zip(answer.value, zip(*(part.value for part in parts), strict=True), strict=True):
        np.testing.assert_allclose(got, np.mean(want, axis=0), rtol=1e-5, atol=1e-6)
    counted = np.sum([part.fooled for part in parts], axis=0)
    assert (np.asarray(answer.fooled) == (2 * counted > draws)).all()
    assert 0 < counted.sum() < 6 * draws  # some draws fool and some do not
    assert oracle.rows_per_query == draws


def test_around_a_random_defense_sees_its_draws():
    """Forward through the noise, backward as if it were not there."""
    answers = [slope(noise(0.3), "around", loss=cross_entropy, key=k).value for k in range(2)]
    assert not np.allclose(answers[0].loss, answers[1].loss)
    quiet = slope(no_defense(), "around", loss=cross_entropy)
    np.testing.assert_allclose(quiet.value.gradient, slope(no_defense(), "blind", loss=cross_entropy).value.gradient)


SCORES = jnp.asarray(np.random.default_rng(6).normal(size=(50, 7)), jnp.float32)
MARKS = jnp.asarray(np.random.default_rng(7).integers(0, 7, size=(50, 2)), jnp.int32)


def test_losses_are_the_papers():
    for row, (label, rival), ce, ratio, towards in zip(
        np.asarray(SCORES, np.float64),
        np.asarray(MARKS),
        *(np.asarray(loss(SCORES, MARKS)) for loss in (cross_entropy, dlr, dlr_targeted)),
        strict=True,
    ):
        ordered = np.sort(row)[::-1]
        assert ce == pytest.approx(row[label] - np.log(np.exp(row).sum()), rel=1e-5)
        other = max(score for i, score in enumerate(row) if i != label)
        assert ratio == pytest.approx((row[label] - other) / (ordered[0] - ordered[2]), rel=1e-4)
        aimed = (row[label] - row[rival]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)
        assert towards == pytest.approx(aimed, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("loss", [dlr, dlr_targeted])
def test_ratios_do_not_change_with_shift_and_scale(loss):
    np.testing.assert_allclose(loss(5 * SCORES - 3, MARKS), loss(SCORES, MARKS), rtol=1e-3, atol=1e-4)
    assert not np.allclose(cross_entropy(5 * SCORES - 3, MARKS), cross_entropy(SCORES, MARKS), rtol=0.1)


def test_no_draw_is_refused():
    with pytest.raises(ValueError, match="draws must be >= 1, got 0"):
        gradient_oracle(defended(VICTIM, no_defense()), dlr, "through", 0)


@pytest.mark.parametrize(("loss", "fewest"), [(dlr, 3), (dlr_targeted, 4)])
def test_too_few_classes_are_refused(loss, fewest):
    loss(SCORES[:, :fewest], MARKS * 0)
    with pytest.raises(ValueError, match=f"scores must be of >= {fewest} classes for this loss, got {fewest - 1}"):
        loss(SCORES[:, : fewest - 1], MARKS * 0)
