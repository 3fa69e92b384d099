"""Learning to classify by a recipe: one step by hand, bfloat16, adversarial images, and what a run achieves."""

import json
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.architectures import ARCHITECTURES, recipe_for
from defenses.classifiers.learning import cross_entropy, learning, share_of_rows
from defenses.data import digits
from defenses.data.dataset import Split, training_images
from defenses.training.adversarial import Adversary, adversary
from defenses.training.batches import on_device
from defenses.training.recipe import Recipe, check
from defenses.training.steps import stepping
from defenses.training.trainer import Diverged, train
from defenses.weights import trained_classifier as trained_module
from defenses.weights.trained_classifier import robust_accuracy, trained_classifier
from tests.defenses.classifiers.tiny_network import NETWORK

RECIPE = Recipe(3, 64, 0.1, 1e-4, "cosine", "none")
ROBUST = replace(RECIPE, epochs=6, adversary=adversary(24))
DATA = digits.load()
TRAIN = training_images(DATA)
IMAGES = len(TRAIN.labels)


def leaves_equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Params and history of a run."""
    return train(learning(NETWORK, RECIPE, DATA, 0), tmp_path_factory.mktemp("whole") / "state")


def test_it_learns(whole):
    params, history = whole
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert history[0]["test_accuracy"] > 0.5
    assert history[-1]["test_accuracy"] > 0.9
    assert history[-1]["loss"] < history[0]["loss"] / 2
    predicted = np.asarray(NETWORK.classifier(params).logits(params, jnp.asarray(DATA.test.images[:]))).argmax(-1)
    assert history[-1]["test_accuracy"] == pytest.approx((predicted == DATA.test.labels).mean())


@pytest.mark.slow
def test_another_seed_is_another_run(whole, tmp_path):
    history = train(learning(NETWORK, replace(RECIPE, epochs=1), DATA, 1), tmp_path)[1]
    assert history[0]["loss"] != whole[1][0]["loss"]


@cache
def built(recipe, dtype="float32"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("defenses.classifiers.learning.precision", lambda: dtype)
        steps = stepping(learning(NETWORK, recipe, DATA, 0))
    return steps, steps.start(), steps.training.batches.order(0), on_device(TRAIN)


def test_one_step_is_nesterov_descent_with_weight_decay():
    """Against the update written out: m ← 0.9 m + g, w ← w − r (g + 0.9 m), g = ∇loss + decay · w, m = 0 before."""
    steps, state, order, rows = built(Recipe(2, 64, 0.1, 0.01, "multistep"))
    after, figures = steps.step(state, 0, order, rows)
    images, labels = rows.pixels[order[:64]], rows.labels[order[:64]]
    logits = NETWORK.training_logits()

    def loss(params):
        scores, updated = logits(params, images)
        return -jax.nn.log_softmax(scores)[jnp.arange(64), labels].mean(), (updated, scores)

    (value, (updated, scores)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(state.params)

    def expected(learns, weight, slope, seen):
        return weight - 0.1 * 1.9 * (slope + 0.01 * weight) if learns else seen

    wanted = jax.tree.map(expected, NETWORK.trainable(), state.params, gradient, updated)
    for got, want in zip(jax.tree.leaves(after.params), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert float(figures["loss"]) == pytest.approx(float(value), rel=1e-5)
    assert float(figures["accuracy"]) == pytest.approx(float((scores.argmax(-1) == labels).mean()))
    assert not np.array_equal(after.params["norm"]["mean"], state.params["norm"]["mean"])


def test_bfloat16_stays_inside_the_network():
    steps, state, order, rows = built(ROBUST, "bfloat16")
    assert steps.training.precision == "bfloat16"
    text = jax.jit(lambda *given: steps.step(given[0], 0, *given[1:])).lower(state, order, rows).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(convolutions) >= 4 + 4  # of the adversary, of the update
    assert all("bf16" in line.split(" : ")[-1] and "f32>" not in line.split(" : ")[-1] for line in convolutions)
    steps, state, order, rows = built(RECIPE, "bfloat16")
    for number in range(3 * 18):
        state, _ = steps.step(state, number % 18, order, rows)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(state.params))
    assert steps.training.evaluate
    assert steps.training.evaluate(state.params)["test_accuracy"] > 0.85


def test_the_share_of_the_test_images_counts_each_once():
    """599 images in batches of 64: the last batch is partial."""
    params = NETWORK.initial(0)
    predicted = np.asarray(NETWORK.classifier(params).logits(params, jnp.asarray(DATA.test.images[:]))).argmax(-1)
    labels = predicted.astype(np.int32)
    share = share_of_rows(NETWORK, 64)
    assert share(params, on_device(Split(DATA.test.images, labels))) == 1
    labels[-1] = (labels[-1] + 1) % 10
    assert share(params, on_device(Split(DATA.test.images, labels))) == pytest.approx(598 / 599)
    images = DATA.test.images[:].copy()
    images[7, 0, 0] = np.nan
    assert np.isnan(share(params, on_device(Split(images, labels))))


def test_a_run_that_diverges_leaves_nothing(tmp_path):
    """One step of one epoch: its loss is of the initial params."""
    recipe = replace(RECIPE, epochs=1, batch_size=IMAGES, learning_rate=1e38, schedule="multistep")
    with pytest.raises(Diverged, match="test_accuracy not finite in epoch 1"):
        trained_classifier(NETWORK, recipe, DATA, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_host_calls_the_adversary_step_by_step():
    """No convolution inside a loop of XLA, whose backward ones are many times slower on a CPU."""
    steps, state, order, rows = built(replace(RECIPE, adversary=adversary(8, 3)))
    key, images, labels = steps.training.batches.draw(state.step, jnp.int32(0), order, rows)
    ascent, calls = steps.training.ascent, []
    assert ascent
    for function, arguments in (
        (ascent.climb, (state.params, images, labels, images)),
        (steps.update, (state, key, images, labels)),
    ):
        text = function.lower(*arguments).as_text()
        assert "stablehlo.convolution" in text
        assert "stablehlo.while" not in text

    def counted(*arguments):
        calls.append(arguments)
        return ascent.climb(*arguments)

    training = steps.training._replace(ascent=ascent._replace(climb=counted))
    for number in (1, 2):
        steps._replace(training=training).step(state, 0, order, rows)
        assert len(calls) == 3 * number


def test_the_update_learns_from_the_perturbed_images():
    steps, state, order, rows = built(ROBUST)
    key, images, labels = steps.training.batches.draw(state.step, jnp.int32(0), order, rows)
    assert steps.training.ascent
    moved = steps.training.ascent.perturbed(state.params, key, images, labels)
    stepped = steps.step(state, 0, order, rows)
    assert leaves_equal(stepped, steps.update(state, key, moved, labels))
    assert not leaves_equal(stepped, steps.update(state, key, images, labels))


def test_the_adversary_leaves_the_batch_statistics_alone():
    """One adversarial step sees its batch once: the running mean moves by a tenth towards that of the images."""
    results = []
    for recipe in (RECIPE, replace(RECIPE, adversary=Adversary(1e-6, 1e-6, 3))):
        steps, state, order, rows = built(recipe)
        results.append(steps.step(state, 0, order, rows)[0].params["norm"])
    np.testing.assert_allclose(results[0]["mean"], results[1]["mean"], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(results[0]["var"], results[1]["var"], rtol=1e-3, atol=1e-6)


def test_the_loss_is_float32_and_brings_new_statistics():
    params = NETWORK.initial(0)
    value, seen = cross_entropy(NETWORK)(params, None, jnp.asarray(DATA.test.images[:8]), DATA.test.labels[:8])
    assert value.dtype == np.float32
    assert not np.array_equal(seen.params["norm"]["mean"], params["norm"]["mean"])


# results


@pytest.fixture(scope="module")
def robust(tmp_path_factory):
    """Weights of an adversarial training at 24/255."""
    return trained_classifier(NETWORK, ROBUST, DATA, 5, tmp_path_factory.mktemp("models"))


@pytest.mark.slow
def test_adversarial_training_makes_robust(whole, robust):
    measured = robust.card["measured"]
    plain = robust_accuracy(NETWORK.classifier(whole[0]), adversary(24, 20), DATA.test, 0)
    assert (plain["images"], measured["robust"]["images"]) == (599, 599)
    assert measured["robust"]["accuracy"] > plain["accuracy"] + 0.1
    assert measured["accuracy"] > measured["robust"]["accuracy"]


class Recorded:
    """Images that note which rows were asked for."""

    def __init__(self, images):
        self.images, self.shape, self.rows = images, images.shape, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.rows += np.arange(len(self.images))[rows].tolist()
        return self.images[rows]


def test_robust_accuracy_is_of_random_images(whole, monkeypatch):
    monkeypatch.setattr(trained_module, "ROBUST_IMAGES", 250)
    classifier, harmless = NETWORK.classifier(whole[0]), Adversary(1e-6, 1e-6, 1)
    predicted = np.asarray(classifier.logits(whole[0], jnp.asarray(DATA.test.images[:]))).argmax(-1).astype(np.int32)

    def measured(seed, labels=predicted):
        images = Recorded(DATA.test.images)
        return robust_accuracy(classifier, harmless, Split(images, labels), seed), images.rows

    result, rows = measured(0)
    assert (result["images"], result["drawn_from"], result["accuracy"]) == (250, 599, 1)
    assert len(rows) == len(set(rows)) == 250
    assert abs(np.mean(rows) - 299) < 4 * np.sqrt((599**2 - 1) / 12 / 250)
    assert max(rows) > 500
    assert measured(0)[1] == rows
    assert measured(1)[1] != rows
    wrong = predicted.copy()
    wrong[rows[:50]] = (wrong[rows[:50]] + 1) % 10
    assert measured(0, wrong)[0]["accuracy"] == 0.8


def test_the_result_has_a_card_and_is_not_trained_again(robust, monkeypatch):
    folder = robust.path.parent
    card = json.loads(robust.path.with_suffix(".json").read_text())
    measured, history = card["measured"], card["training"]["history"]
    assert card["recipe"]["adversary"] == {"epsilon": 24, "step_size": 6, "steps": 10}
    assert card["recipe"]["learning_rate"] == 0.1
    assert measured["images"] == 599
    assert 0 < measured["standard_error"] < 0.03
    assert measured["robust"]["steps"] == 20
    assert (measured["robust"]["images"], measured["robust"]["drawn_from"]) == (599, 599)
    assert measured["normalization"] == {"mean": [0.0], "std": [1.0]}
    assert [(e["precision"], e["device"]) for e in history] == [("float32", "cpu")] * 6
    assert measured["accuracy"] == pytest.approx(history[-1]["test_accuracy"])
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"]
    monkeypatch.setattr(trained_module, "learning", None)
    again = trained_classifier(NETWORK, ROBUST, DATA, 5, folder)
    assert again.cached
    assert leaves_equal(again.params, robust.params)


def test_a_data_set_without_trainable_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dataset must have images to train on, digits has none here"):
        trained_classifier(NETWORK, RECIPE, DATA._replace(train=None), 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_recipes_of_models_and_data_sets():
    assert recipe_for("resnet20", "cifar10") == Recipe(200, 128, 0.1, 1e-4, "multistep", "crop-and-flip")
    assert recipe_for("wide-resnet-28-10", "cifar10") == Recipe(40, 128, 0.1, 5e-4, "cosine", "crop-and-flip")
    assert recipe_for("resnet56", "fashion-mnist").augmentation == "crop"
    assert recipe_for("vit-tiny-16", "cifar10").optimizer == "adamw"
    for architecture in ARCHITECTURES.values():
        if architecture.recipe is not None:
            check(architecture.recipe, 50_000)
    with pytest.raises(ValueError, match=r"model must be one of resnet20, .*got 'resnet50'"):
        recipe_for("resnet50", "cifar10")
    with pytest.raises(ValueError, match=r"dataset must be one of cifar10, .*got 'imagenet'"):
        recipe_for("resnet20", "imagenet")
