"""Targets, starts and the best response of the experiment `attack`."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.model import Model, defended
from sims.attacks.attack import Threat
from sims.attacks.table import attack_choices, build_attack, read_attack
from sims.command_line import main
from sims.engine.run import Schedule, run_attack
from sims.measurements.best_response import best_radius, with_radius
from sims.records import store
from sims.victims.oracle import averaged, oracle_of
from sims.victims.starts import starting_images
from tests.sims.small_victims import SHAPE, images, labels_of, linear_classifier, no_defense
from tests.sims.victims.reference_server import Server

COUNT = 24
CLASSIFIER, IMAGES = linear_classifier(), images(COUNT)
LABELS = labels_of(CLASSIFIER, IMAGES)


def test_starting_images_have_another_class_and_depend_on_the_image_alone():
    ids = np.arange(100, 100 + COUNT)
    other = starting_images(LABELS, ids, 3)
    assert (LABELS[other] != LABELS).all()
    assert np.array_equal(starting_images(LABELS, ids, 3), other)
    assert not np.array_equal(starting_images(LABELS, ids, 4), other)
    assert len(set(other)) > COUNT / 3
    with pytest.raises(ValueError, match="images must be of two classes"):
        starting_images(np.zeros(4, int), np.arange(4), 0)


@pytest.mark.parametrize("feedback", ["scores", "loss", "label"])
def test_a_targeted_oracle_is_fooled_by_the_target_alone(feedback):
    rows, targets = jnp.asarray(IMAGES), jnp.asarray((LABELS + np.arange(COUNT) % 2) % 4, jnp.int32)
    oracle = oracle_of(defended(CLASSIFIER, no_defense()), feedback, targeted=True)
    keys = jax.random.split(jax.random.key(0), COUNT)
    for one in (oracle, averaged(oracle, 3)):
        answer = one.query(one.params, keys, rows, targets)
        assert np.array_equal(answer.fooled, np.arange(COUNT) % 2 == 0)
        if one.feedback == "loss":
            assert (np.asarray(answer.value) < 0).tolist() == (np.arange(COUNT) % 2 == 0).tolist()


@pytest.mark.parametrize(
    "name",
    [
        "square:initial_fraction=0.5",
        pytest.param("nes:smoothing_radius=0.05,num_directions=4", marks=pytest.mark.slow),
    ],
)
def test_a_targeted_attack_ends_in_the_target(name):
    other = starting_images(LABELS, np.arange(COUNT), 0)
    attack = build_attack(read_attack(name), Threat("linf", 0.05, 200, targeted=True))
    oracle = oracle_of(defended(CLASSIFIER, no_defense()), "loss", targeted=True)
    result = run_attack(
        jax.random.key(0), attack, oracle, IMAGES, LABELS[other], np.arange(COUNT), Schedule(200, 16, 8)
    )
    reached = labels_of(CLASSIFIER, result.images) == LABELS[other]
    assert np.array_equal(reached, result.success)
    assert 0.3 < reached.mean() < 1


def test_best_radius_of_a_linear_loss_by_hand():
    weights = np.zeros((36, 2), np.float32)
    weights[:, 0] = 0.5  # the margin of class 0 is Σ x / 2, its gradient has length 3
    half = Model("half", jnp.asarray(weights), lambda w, keys, x: x.reshape(len(x), -1) @ w, 2)
    flat, norms = np.full((5, *SHAPE), 0.5, np.float32), np.full(5, 3.0)
    response = best_radius(half, flat, np.zeros(5, int), norms)
    assert response.tolerance == pytest.approx(4.5)
    assert response.lipschitz == pytest.approx(3.0)
    assert response.smoothing_radius == pytest.approx(4.5 / (3 * 6))
    with pytest.raises(ValueError, match="best_response needs a loss with a gradient"):
        best_radius(half, flat, np.zeros(5, int), 0 * norms)


def test_the_best_radius_goes_where_there_is_one():
    asked = attack_choices("nes:num_directions=3", "square", "nes:smoothing_radius=0.25,num_directions=3")
    assert with_radius(asked[:2], 0.25) == asked  # square has no radius
    assert with_radius(asked, 0.25) == asked  # none twice


@pytest.fixture(scope="module")
def record(results):
    """A small run with two stopping votes and a best response."""
    arguments = ["--images", "12", "--query-budget", "60", "--epsilon", "0.3", "--draws", "16", "--best-response"]
    chosen = ["--attacks", "nes:num_directions=4", "--defenses", "mean-filter", "gaussian-noise:std=0.1"]
    rule = ["--stopping", "re-evaluation", "--evaluations", "5"]
    assert main(["attack", *arguments, *chosen, *rule, "--out", str(results), "--json"]) == 0
    return store.latest(results, "attack")


def test_claims_stand_beside_fresh_draws(record):
    report = record.manifest["report"]
    assert report["stopping"] == "re-evaluation"
    rows = {(row["attack"], row["defense"]): row for row in report["rows"]}
    best = f"nes:smoothing_radius={report['best_response']['smoothing_radius']},num_directions=4"
    assert {attack for attack, _ in rows} == {"nes:num_directions=4", best}
    fixed = rows["nes:num_directions=4", "mean-filter"]
    assert fixed["evaluations"] == 1
    assert fixed["robust_average_of_n"] == pytest.approx(fixed["robust_accuracy"])
    assert fixed["robust_worst_of_n"] == pytest.approx(fixed["robust_accuracy"])
    for row in rows.values():
        assert row["robust_worst_of_n"] <= row["robust_average_of_n"] + 1e-9
    assert rows["nes:num_directions=4", "gaussian-noise:std=0.1"]["evaluations"] == 5
    assert record.data.sizes["count"] > 5


def test_it_is_confirmed_with_its_best_response(record, results, capsys):
    assert main(["attack", "--recheck", str(record.folder), "--out", str(results), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert len(report["rows"]) == 4


def test_a_service_is_attacked_beside_the_defences(results, capsys):
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    with Server(lambda rows: rows.reshape(len(rows), -1) @ weights) as server:
        arguments = ["--images", "6", "--query-budget", "20", "--draws", "2", "--evaluations", "3", "--rows", "16"]
        chosen = ["--attacks", "square", "--defenses", "none", "--service", server.url]
        assert main(["attack", *arguments, *chosen, "--out", str(results), "--json"]) == 0
        report, asked = json.loads(capsys.readouterr().out), server.memory.rows
    row = report["rows"][1]
    assert row["defense"] == server.url
    assert row["V"] is None
    assert row["slow_down_predicted"] is None
    assert row["evaluations"] == 3
    data = store.latest(results, "attack").data
    assert asked == int(data.queries.sel(defense=server.url).sum()) + 3 * 6
    assert main(["attack", "--images", "6", "--service", "ftp://nowhere", "--out", str(results)]) == 2
    assert "url must be http" in capsys.readouterr().err
