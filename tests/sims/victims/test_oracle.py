"""Losses, the three oracles and their paired and averaged forms, and what theory measures behind them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.classifier import Classifier
from defenses.model import defended
from sims.measurements.local_geometry import measure
from sims.victims.losses import log_likelihood, margin_loss
from sims.victims.oracle import Answer, Oracle, averaged, oracle_of, paired
from tests.sims.small_victims import SHAPE, images, labels_of, linear_classifier, no_defense, noise

KEY, SIGMA, COUNT = jax.random.key(11), 0.3, 50
CLASSIFIER, IMAGES = linear_classifier(), images(COUNT)
LABELS = labels_of(CLASSIFIER, IMAGES)
WEIGHTS = np.random.default_rng(2).normal(size=(36, 2)).astype(np.float32)
AFFINE = Classifier("affine", jnp.asarray(WEIGHTS), lambda w, x: x.reshape(len(x), -1) @ w, SHAPE, 2, True)
SLOPE = (WEIGHTS[:, 0] - WEIGHTS[:, 1]).astype(float)
VARIANCE = SIGMA**2 * SLOPE @ SLOPE  # of the margin of class 0 under the noise defence


@partial(jax.jit, static_argnums=0)
def answered(oracle: Oracle, params, key, rows, labels) -> Answer:
    return oracle.query(params, oracle.draw(key, len(rows)), rows, labels)


def ask(oracle: Oracle, rows, labels, key=KEY) -> Answer:
    return jax.tree.map(np.asarray, answered(oracle._replace(params=None), oracle.params, key, rows, labels))


def repeat(image, count: int):
    return np.broadcast_to(image, (count, *image.shape)), np.zeros(count, np.int32)


LOSSES = jax.jit(lambda scores, labels: (margin_loss(scores, labels), log_likelihood(scores, labels)))


@pytest.mark.parametrize(
    ("scores", "label", "margin"),
    [([3.0, 1, 2], 0, 1), ([3.0, 1, 2], 1, -2), ([-5.0, -1, -4], 1, 3), ([0.0, 0, 7], 2, 7), ([-9.0, -8], 0, -1)],
)
def test_losses_of_one_row(scores, label, margin):
    (found,), (likelihood,) = LOSSES(np.array([scores], np.float32), np.array([label]))
    assert found == margin
    expected = scores[label] - np.log(np.sum(np.exp(scores)))
    assert likelihood == pytest.approx(expected, abs=1e-6)


def test_fooled_means_a_negative_margin():
    labels = np.random.default_rng(3).integers(0, 4, COUNT, np.int32)
    scores = ask(oracle_of(defended(CLASSIFIER, noise(SIGMA)), "scores"), IMAGES, labels)
    loss = ask(oracle_of(defended(CLASSIFIER, noise(SIGMA)), "loss"), IMAGES, labels)
    label = ask(oracle_of(defended(CLASSIFIER, noise(SIGMA)), "label"), IMAGES, labels)
    assert 0 < scores.fooled.sum() < COUNT
    for answer in (scores, loss, label):
        assert np.array_equal(answer.fooled, scores.fooled)
    assert np.array_equal(loss.value < 0, loss.fooled)
    assert np.array_equal(loss.value, LOSSES(scores.value, labels)[0])
    assert np.array_equal(label.value, scores.value.argmax(-1))
    assert np.array_equal(label.value != labels, label.fooled)
    assert label.value.dtype == jnp.int32


def test_every_row_has_its_own_draw_unless_paired():
    oracle, rows = oracle_of(defended(CLASSIFIER, noise(SIGMA)), "loss"), repeat(IMAGES[0], 8)
    assert len(np.unique(ask(oracle, *rows).value)) == 8
    assert len(np.unique(ask(paired(oracle), *rows).value)) == 1
    other = ask(paired(oracle), *rows, key=jax.random.key(12))
    assert other.value[0] != ask(paired(oracle), *rows).value[0]


def test_pairing_cancels_additive_noise():
    oracle, rows = oracle_of(defended(AFFINE, noise(SIGMA)), "loss"), IMAGES[:2]
    labels, truth = np.zeros(2, np.int32), rows.reshape(2, -1) @ SLOPE
    for source, cancels in ((paired(oracle), True), (oracle, False)):
        values = ask(source, rows, labels).value
        assert (abs(np.diff(values) - np.diff(truth)) < 1e-3).all() == cancels


def variance_and_error(values) -> tuple[float, float]:
    """Sample variance and its standard error, from the fourth central moment."""
    centred = np.asarray(values, float) - np.mean(values, dtype=float)
    return float(centred.var(ddof=1)), float((centred**2).std() / np.sqrt(len(values)))


@pytest.mark.parametrize("repeats", [1, 3])
def test_averaging_divides_the_variance_and_costs_the_repeats(repeats):
    rows_seen = []

    def counting(params, keys, rows, labels):
        rows_seen.append(len(rows))
        return base.query(params, keys, rows, labels)

    base = oracle_of(defended(AFFINE, noise(SIGMA)), "loss")
    oracle = averaged(base._replace(query=counting), repeats)
    values = ask(oracle, *repeat(IMAGES[0], 10_000)).value
    assert rows_seen == [10_000 * repeats] == [10_000 * oracle.rows_per_query]
    variance, error = variance_and_error(values)
    assert error < 0.02 * variance
    assert abs(variance - VARIANCE / repeats) < 4 * error
    assert abs(variance - VARIANCE / (repeats + 1)) > 4 * error
    mean, truth = float(np.mean(values)), float(IMAGES[0].ravel() @ SLOPE)
    assert abs(mean - truth) < 4 * np.sqrt(VARIANCE / repeats / len(values)) + 1e-4


def test_averages_nest():
    base = oracle_of(defended(AFFINE, noise(SIGMA)), "loss")
    oracle = averaged(averaged(base, 2), 3)
    assert oracle.rows_per_query == 6
    variance, error = variance_and_error(ask(oracle, *repeat(IMAGES[0], 10_000)).value)
    assert abs(variance - VARIANCE / 6) < 4 * error


def scripted(votes) -> Oracle:
    """A label oracle whose k-th row answers the k-th of the scripted labels."""
    return Oracle("label", np.array(votes, np.int32).ravel(), read_out, jax.random.split, 1)


def read_out(answers, keys, rows, labels):
    return Answer(answers, answers != labels)


FIVE_TIMES = averaged(scripted([0]), 5)  # one program for every script


@pytest.mark.parametrize(
    ("votes", "label", "majority", "fooled"),
    [
        ([2, 2, 2, 1, 0], 2, 2, False),
        ([1, 1, 1, 2, 0], 2, 1, True),
        ([0, 3, 0, 3, 3], 3, 3, False),
        ([3, 0, 3, 0, 3], 0, 3, True),
        ([1, 1, 1, 1, 1], 1, 1, False),
    ],
)
def test_averaged_labels_are_a_majority_vote(votes, label, majority, fooled):
    oracle = FIVE_TIMES._replace(params=scripted([votes, [7] * 5]).params)
    answer = ask(oracle, IMAGES[:2], np.array([label, 7]))
    assert answer.value.tolist() == [majority, 7]
    assert answer.fooled.tolist() == [fooled, False]


def test_averaged_scores_keep_their_shape_and_bad_repeats_are_named():
    oracle = oracle_of(defended(CLASSIFIER, no_defense()), "scores")
    assert np.allclose(ask(averaged(oracle, 3), IMAGES, LABELS).value, ask(oracle, IMAGES, LABELS).value, atol=1e-6)
    with pytest.raises(ValueError, match="repeats must be >= 1, got 0"):
        averaged(oracle, 0)


def test_geometry_of_a_noisy_linear_margin_is_exact():
    draws, labels = 4000, np.array([0, 1, 0])
    got = measure(KEY, defended(AFFINE, noise(SIGMA)), images(3), labels, draws)
    signs = np.array([1, -1, 1])
    assert np.allclose(got.gradient.reshape(3, -1), signs[:, None] * SLOPE, atol=1e-4)
    assert np.allclose(got.variance_error, VARIANCE * np.sqrt(2 / draws), rtol=0.15)
    assert (abs(got.variance - VARIANCE) < 4 * got.variance_error).all()
    assert (abs(got.variance - 1.25 * VARIANCE) > 4 * got.variance_error).all()
    assert len(set(got.variance)) == 3


def test_geometry_without_randomness_has_no_variance():
    got = measure(KEY, defended(CLASSIFIER, no_defense()), images(2), np.asarray(LABELS[:2]), 8, log_likelihood)
    assert np.allclose(got.variance, 0, atol=1e-12)
    direct = jax.grad(lambda x: log_likelihood(CLASSIFIER.logits(CLASSIFIER.params, x), jnp.asarray(LABELS[:2])).sum())
    assert np.allclose(got.gradient, jax.jit(direct)(IMAGES[:2]), atol=1e-5)


def test_an_averaged_answer_and_its_verdict_agree():
    votes = [0, 0, 1, 2, 3]  # the majority is right, most single votes are wrong
    answer = ask(FIVE_TIMES._replace(params=scripted(votes).params), IMAGES[:1], np.zeros(1, np.int32))
    assert answer.value[0] == 0
    assert not answer.fooled[0]
