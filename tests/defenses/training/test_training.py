import json
import time
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from defenses.classifiers.architecture import Architecture
from defenses.classifiers.network import initial, trainable
from defenses.data import digits
from defenses.data.dataset import Bytes, Split
from defenses.data.normalization import NORMALIZATIONS
from defenses.training import cost as cost_module
from defenses.training import epochs, steps
from defenses.training.adversarial import Adversary, adversary, ascent
from defenses.training.cost import cost
from defenses.training.fit import fit
from defenses.training.recipe import RECIPES, Recipe, check, recipe_for
from defenses.training.schedules import cosine, multistep
from defenses.weights import trained
from tests.defenses.training import tiny_network

SHAPE = (8, 8, 1)
IMAGES = 1198  # of the digits' training split
RECIPE = Recipe(3, 64, 0.1, 1e-4, "cosine", "none")
ROBUST = replace(RECIPE, epochs=6, adversary=adversary(24))


TINY = steps.Network("tiny", tiny_network.TINY, SHAPE, 10, NORMALIZATIONS["digits"])


@pytest.fixture(scope="module")
def data():
    return digits.load()


def leaves_equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def fitted(data, folder, recipe=RECIPE, seed=0):
    return epochs.train(TINY, recipe, data.train, data.test, seed, folder)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Params and history of an uninterrupted run."""
    return fitted(data, tmp_path_factory.mktemp("whole") / "state")


def test_it_learns(whole, data):
    params, history = whole
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert history[0]["test_accuracy"] > 0.5
    assert history[-1]["test_accuracy"] > 0.9
    assert history[-1]["loss"] < history[0]["loss"] / 2
    classifier = TINY.classifier(params)
    predicted = np.asarray(classifier.logits(params, jnp.asarray(data.test.images[:]))).argmax(-1)
    assert history[-1]["test_accuracy"] == pytest.approx((predicted == data.test.labels).mean())


@pytest.mark.slow
def test_another_seed_is_another_run(whole, data, tmp_path):
    history = fitted(data, tmp_path, replace(RECIPE, epochs=1), seed=1)[1]
    assert history[0]["loss"] != whole[1][0]["loss"]


def test_a_stopped_run_goes_on_with_the_same_bits(whole, data, tmp_path, monkeypatch):
    run_epoch, started, stopped_after = epochs._epoch, [], 1

    def stops(built, state, epoch, *rest):
        if epoch == stopped_after:
            raise KeyboardInterrupt
        return run_epoch(built, state, epoch, *rest)

    def counts(built, state, epoch, *rest):
        started.append(epoch)
        return run_epoch(built, state, epoch, *rest)

    monkeypatch.setattr(epochs, "_epoch", stops)
    with pytest.raises(KeyboardInterrupt):
        fitted(data, tmp_path / "state")
    monkeypatch.setattr(epochs, "_epoch", counts)
    params, history = fitted(data, tmp_path / "state")
    assert started == list(range(stopped_after, 3))
    assert leaves_equal(params, whole[0])
    figures = [[epoch[k] for k in ("epoch", "loss", "accuracy", "test_accuracy")] for epoch in history]
    assert figures == [[epoch[k] for k in ("epoch", "loss", "accuracy", "test_accuracy")] for epoch in whole[1]]


def test_a_damaged_state_is_named(data, tmp_path):
    folder = tmp_path / "state"
    fitted(data, folder, replace(RECIPE, epochs=1))
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match="delete it to train from the start") as caught:
        fitted(data, folder, replace(RECIPE, epochs=2))
    assert str(folder) in str(caught.value)


DIVERGING = replace(RECIPE, epochs=1, batch_size=IMAGES, learning_rate=1e38, schedule="multistep")


def test_a_loss_that_explodes_is_refused(data, tmp_path):
    message = r"learning_rate must be small enough for finite numbers, got 1e\+20: loss and .* not finite in epoch 1"
    with pytest.raises(epochs.Diverged, match=message):
        fitted(data, tmp_path / "state", replace(RECIPE, learning_rate=1e20))


def test_a_last_update_that_explodes_is_refused(data, tmp_path):
    """One step of one epoch: its loss is of the initial params."""
    with pytest.raises(epochs.Diverged, match=r"got 1e\+38: scores of held-out images not finite in epoch 1"):
        fitted(data, tmp_path / "state", DIVERGING)


def test_weights_that_explode_are_refused_though_scores_are_finite(data, tmp_path, monkeypatch):
    run_epoch = epochs._epoch

    def explodes(*arguments):
        state, sums = run_epoch(*arguments)
        state.params["norm"]["var"] = jnp.full_like(state.params["norm"]["var"], jnp.inf)
        return state, sums

    monkeypatch.setattr(epochs, "_epoch", explodes)
    with pytest.raises(epochs.Diverged, match=r"got 0\.1: weights not finite in epoch 1"):
        fitted(data, tmp_path / "state", replace(RECIPE, epochs=1))


def test_a_run_that_diverges_leaves_nothing(data, tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        trained.trained(TINY, DIVERGING, data, 0, tmp_path)
    assert not list(tmp_path.iterdir())


@cache
def built(recipe, dtype="float32"):
    made = steps.training_steps(TINY.computing_in(dtype), recipe, IMAGES, jax.random.key(0))
    return made, made.start(initial(TINY.architecture, SHAPE, 10, 0))


ZERO = steps.Sums(jnp.float32(0), jnp.int32(0))


def test_an_epoch_holds_every_image_once(data):
    made, _ = built(RECIPE)
    first, second = np.asarray(made.order(0)), np.asarray(made.order(1))
    assert np.array_equal(np.sort(first), np.arange(len(data.train.labels)))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, made.order(0))


def test_a_step_sees_its_own_batch_of_the_order(data):
    rows = steps.on_device(data.train)
    made, state = built(RECIPE)
    order = made.order(0)
    for number in (0, 3):
        here = state._replace(step=jnp.int32(number))
        stepped = made.train(here, ZERO, order, rows)
        batch = order[number * 64 : (number + 1) * 64]
        alone = steps.Rows(rows.pixels.at[batch].set(0), rows.labels)
        others = steps.Rows(jnp.zeros_like(rows.pixels).at[batch].set(rows.pixels[batch]), rows.labels)
        assert leaves_equal(made.train(here, ZERO, order, others), stepped)
        assert not leaves_equal(made.train(here, ZERO, order, alone), stepped)


def test_one_step_is_nesterov_descent_with_weight_decay(data):
    """Against the update written out: m ← 0.9 m + g, w ← w − r (g + 0.9 m), g = ∇loss + decay · w, m = 0 before."""
    recipe = Recipe(2, 64, 0.1, 0.01, "multistep")
    rows = steps.on_device(data.train)
    made, state = built(recipe)
    order = made.order(0)
    after, sums = made.train(state, ZERO, order, rows)
    images, labels = rows.pixels[order[:64]], rows.labels[order[:64]]
    logits = steps.training_logits(TINY.architecture, SHAPE, 10, TINY.normalization)

    def loss(params):
        scores, updated = logits(params, images)
        return -jax.nn.log_softmax(scores)[jnp.arange(64), labels].mean(), updated

    (value, updated), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
    mask = trainable(TINY.architecture, SHAPE, 10)

    def expected(learns, weight, slope, seen):
        return weight - 0.1 * 1.9 * (slope + 0.01 * weight) if learns else seen

    wanted = jax.tree.map(expected, mask, state.params, gradient, updated)
    for got, want in zip(jax.tree.leaves(after.params), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert float(sums.loss) == pytest.approx(64 * float(value), rel=1e-5)
    assert not np.array_equal(after.params["norm"]["mean"], state.params["norm"]["mean"])


def test_bytes_and_floats_train_alike(data):
    pixels = np.round(np.asarray(data.train.images[:]) * 255).astype(np.uint8)
    as_bytes, as_floats = Split(Bytes(pixels), data.train.labels), Split(Bytes(pixels)[:], data.train.labels)
    assert steps.on_device(as_bytes).pixels.dtype == np.uint8
    results = []
    for split in (as_bytes, as_floats):
        rows = steps.on_device(split)
        made, state = built(RECIPE)
        results.append(made.train(state, ZERO, made.order(0), rows)[0])
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_bfloat16_stays_inside_the_network(data):
    rows = steps.on_device(data.train)
    made, state = built(ROBUST, "bfloat16")
    order = made.order(0)
    text = jax.jit(made.train).lower(state, ZERO, order, rows).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(convolutions) >= 4 + 4  # of the adversary, of the update
    assert all("bf16" in line.split(" : ")[-1] and "f32>" not in line.split(" : ")[-1] for line in convolutions)
    made, state = built(RECIPE, "bfloat16")
    for number in range(3 * 18):
        state, _ = made.train(state, ZERO, made.order(number // 18), rows)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(state.params))
    assert steps.measuring_step(TINY.computing_in("bfloat16"), 64)(state.params, steps.on_device(data.test)) > 0.85


def test_the_share_of_the_test_images_counts_each_once(data):
    """599 images in batches of 64: the last batch is partial."""
    params = initial(TINY.architecture, SHAPE, 10, 0)
    predicted = np.asarray(TINY.classifier(params).logits(params, jnp.asarray(data.test.images[:]))).argmax(-1)
    labels = predicted.astype(np.int32)
    measure = steps.measuring_step(TINY, 64)
    assert measure(params, steps.on_device(Split(data.test.images, labels))) == 1
    labels[-1] = (labels[-1] + 1) % 10
    assert measure(params, steps.on_device(Split(data.test.images, labels))) == pytest.approx(598 / 599)
    images = data.test.images[:].copy()
    images[7, 0, 0] = np.nan
    assert np.isnan(measure(params, steps.on_device(Split(images, labels))))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (multistep(0.1, 100, 10), {0: 0.1, 49: 0.1, 50: 0.01, 74: 0.01, 75: 0.001, 99: 0.001}),
        (cosine(0.1, 200, 10), {0: 0, 5: 0.05, 10: 0.1, 105: 0.05, 200: 0}),
        (cosine(0.1, 20, 10), {0: 0, 2: 0.1, 11: 0.05, 20: 0}),
        (cosine(0.1, 1, 1), {0: 0}),
    ],
)
def test_schedules_at_the_steps_that_matter(rate, expected):
    assert [np.asarray(rate(step)) for step in expected] == pytest.approx(list(expected.values()), abs=1e-7)


# adversarial training


@pytest.fixture(scope="module")
def victim(whole, data):
    params, images = whole[0], jnp.asarray(data.test.images[:200])
    return lambda x: TINY.classifier(params).logits(params, x), images, jnp.asarray(data.test.labels[:200])


def perturbed(logits, attack, key, images, labels):
    return ascent(lambda _, moved: logits(moved), attack).perturbed(None, key, images, labels)


def entropy(logits, images, labels):
    return -np.asarray(jax.nn.log_softmax(logits(images)))[np.arange(len(labels)), labels]


@pytest.mark.parametrize("epsilon", [8, 64])
def test_pgd_stays_in_ball_and_box_and_raises_the_loss(victim, epsilon):
    logits, images, labels = victim
    moved = perturbed(logits, adversary(epsilon), jax.random.key(0), images, labels)
    distance = np.abs(np.asarray(moved) - np.asarray(images))
    assert distance.max() <= epsilon / 255 + 1e-6
    assert distance.max() > 0.9 * epsilon / 255
    assert (moved.min(), moved.max()) == (0, 1)
    before, after = entropy(logits, images, labels), entropy(logits, moved, labels)
    noise = perturbed(logits, Adversary(epsilon, 0, 1), jax.random.key(0), images, labels)
    assert (after > before).mean() > 0.95
    assert after.mean() > 1.5 * entropy(logits, noise, labels).mean()


def test_pgd_is_its_formula(victim):
    logits, images, labels = victim
    attack = Adversary(8, 3, 2)
    radius, key = 8 / 255, jax.random.key(4)
    moved = np.asarray(images) + np.asarray(jax.random.uniform(key, images.shape, jnp.float32, -radius, radius))
    moved = np.clip(moved, 0, 1)
    for _ in range(2):
        gradient = jax.grad(lambda x: jnp.sum(-jax.nn.log_softmax(logits(x))[jnp.arange(len(labels)), labels]))(moved)
        moved = np.clip(moved + 3 / 255 * np.sign(gradient), images - radius, images + radius)
        moved = np.clip(moved, 0, 1)
    got = np.asarray(perturbed(logits, attack, key, images, labels))
    assert (np.abs(got - moved) < 1e-6).mean() > 0.999


def counting(function, calls):
    def counted(*arguments):
        calls.append(function)
        return function(*arguments)

    return counted


def test_the_host_calls_the_adversary_step_by_step(data):
    """No convolution inside a loop of XLA, whose backward ones are many times slower on a CPU."""
    rows, calls = steps.on_device(data.train), []
    made, state = built(replace(RECIPE, adversary=adversary(8, 3)))
    _, images, labels = made.batch(state.step, made.order(0), rows)
    assert made.ascent
    for function, arguments in (
        (made.ascent.climb, (state.params, images, labels, images)),
        (made.update, (state, ZERO, images, labels)),
    ):
        text = function.lower(*arguments).as_text()
        assert "stablehlo.convolution" in text
        assert "stablehlo.while" not in text
    counted = made._replace(ascent=made.ascent._replace(climb=counting(made.ascent.climb, calls)))
    for number in (1, 2):
        counted.train(state, ZERO, made.order(0), rows)
        assert len(calls) == 3 * number


def test_the_update_learns_from_the_perturbed_images(data):
    rows = steps.on_device(data.train)
    made, state = built(ROBUST)
    key, images, labels = made.batch(state.step, made.order(0), rows)
    assert made.ascent
    moved = made.ascent.perturbed(state.params, key, images, labels)
    stepped = made.train(state, ZERO, made.order(0), rows)
    assert leaves_equal(stepped, made.update(state, ZERO, moved, labels))
    assert not leaves_equal(stepped, made.update(state, ZERO, images, labels))


def test_the_random_start_follows_the_key(victim):
    first, again, other = (
        np.asarray(perturbed(victim[0], adversary(8), jax.random.key(k), *victim[1:])) for k in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_adversary_leaves_the_batch_statistics_alone(data):
    """One adversarial step sees its batch once: the running mean moves by a tenth towards that of the images."""
    recipe = replace(RECIPE, adversary=Adversary(1e-6, 1e-6, 3))
    rows = steps.on_device(data.train)
    results = []
    for one in (RECIPE, recipe):
        made, state = built(one)
        results.append(made.train(state, ZERO, made.order(0), rows)[0].params["norm"])
    np.testing.assert_allclose(results[0]["mean"], results[1]["mean"], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(results[0]["var"], results[1]["var"], rtol=1e-3, atol=1e-6)


# results


@pytest.fixture(scope="module")
def robust(data, tmp_path_factory):
    """Weights of an adversarial training at 24/255."""
    return trained.trained(TINY, ROBUST, data, 5, tmp_path_factory.mktemp("models"))


@pytest.mark.slow
def test_adversarial_training_makes_robust(whole, robust, data):
    measured = robust.card["measured"]
    plain = trained.robust_accuracy(TINY.classifier(whole[0]), adversary(24, 20), data.test, 0)
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


def test_robust_accuracy_is_of_random_images(whole, data, monkeypatch):
    monkeypatch.setattr(trained, "ROBUST_IMAGES", 250)
    classifier, harmless = TINY.classifier(whole[0]), Adversary(1e-6, 1e-6, 1)
    predicted = np.asarray(classifier.logits(whole[0], jnp.asarray(data.test.images[:]))).argmax(-1).astype(np.int32)

    def measured(seed, labels=predicted):
        images = Recorded(data.test.images)
        return trained.robust_accuracy(classifier, harmless, Split(images, labels), seed), images.rows

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


def test_the_result_has_a_card_and_is_not_trained_again(robust, data, monkeypatch):
    folder = robust.path.parent
    card = json.loads(robust.path.with_suffix(".json").read_text())
    measured = card["measured"]
    assert card["recipe"]["adversary"] == {"epsilon": 24, "step_size": 6, "steps": 10}
    assert card["recipe"]["learning_rate"] == 0.1
    assert measured["images"] == 599
    assert 0 < measured["standard_error"] < 0.03
    assert measured["robust"]["steps"] == 20
    assert (measured["robust"]["images"], measured["robust"]["drawn_from"]) == (599, 599)
    assert measured["normalization"] == {"mean": [0.0], "std": [1.0]}
    assert [(e["precision"], e["device"]) for e in measured["history"]] == [("float32", "cpu")] * 6
    assert measured["accuracy"] == pytest.approx(measured["history"][-1]["test_accuracy"])
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"]
    monkeypatch.setattr(trained, "train", None)
    again = trained.trained(TINY, ROBUST, data, 5, folder)
    assert again.cached
    assert leaves_equal(again.params, robust.params)


def test_a_stopped_run_leaves_its_state_and_no_result(data, tmp_path, monkeypatch):
    def stops(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(epochs, "_epoch", stops)
    with pytest.raises(KeyboardInterrupt):
        trained.trained(TINY, RECIPE, data, 0, tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
    assert [folder.suffix for folder in tmp_path.iterdir()] == [".training"]


def test_a_data_set_without_trainable_split_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="dataset must have images to train on, digits has none here"):
        trained.trained(TINY, RECIPE, data._replace(train=None), 0, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, r"epochs must be in \[1, 100000\], got 0"),
        ({"batch_size": 0}, r"batch_size must lie in 1..100, the training images, got 0"),
        ({"batch_size": 101}, "got 101"),
        ({"learning_rate": -0.1}, "learning_rate must be > 0 and finite, got -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate must be > 0 and finite, got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be ≥ 0 and finite, got -1"),
        ({"schedule": "never"}, "schedule must be one of multistep, cosine, got 'never'"),
        ({"augmentation": "magic"}, "augmentation must be one of crop-and-flip, crop, none, got 'magic'"),
    ],
)
def test_recipes_out_of_range(change, message):
    check(RECIPE, 100)
    with pytest.raises(ValueError, match=message):
        check(replace(RECIPE, **change), 100)


@pytest.mark.parametrize("epsilon", [0, -8, 256, float("nan")])
def test_radii_out_of_range(epsilon):
    with pytest.raises(ValueError, match=r"adversarial_epsilon must lie in \(0, 255\]"):
        adversary(epsilon)


def test_recipes_of_models_and_data_sets():
    assert recipe_for("resnet20", "cifar10") == Recipe(200, 128, 0.1, 1e-4, "multistep", "crop-and-flip")
    assert recipe_for("wide-resnet-28-10", "cifar10") == Recipe(40, 128, 0.1, 5e-4, "cosine", "crop-and-flip")
    assert recipe_for("resnet56", "fashion-mnist").augmentation == "crop"
    for recipe in RECIPES.values():
        check(recipe, 50_000)
    with pytest.raises(ValueError, match=r"model must be one of resnet20, .*got 'vit-tiny-16'"):
        recipe_for("vit-tiny-16", "cifar10")
    with pytest.raises(ValueError, match=r"dataset must be one of cifar10, .*got 'imagenet'"):
        recipe_for("resnet20", "imagenet")


HIDDEN = 500


class Dense(nnx.Module):
    def __init__(self, image_shape, num_classes, rngs):
        pixels = image_shape[0] * image_shape[1]
        self.hidden = nnx.Linear(pixels, HIDDEN, kernel_init=tiny_network.UNIFORM, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, num_classes, kernel_init=tiny_network.UNIFORM, rngs=rngs)

    def __call__(self, images):
        return self.head(nnx.relu(self.hidden(images.reshape(len(images), -1))))


DENSE = steps.Network("dense", Architecture(Dense, {}, smooth=True), SHAPE, 10, NORMALIZATIONS["digits"])


@pytest.fixture
def _timed_for_a_moment(monkeypatch):
    monkeypatch.setattr(cost_module, "LONG_ENOUGH", 0.05)


@pytest.mark.usefixtures("_timed_for_a_moment")
def test_cost_of_a_network_counted_by_hand(data):
    """A step of the adversary goes back through both layers to the pixels, the update to both layers' weights."""
    first, second = 2 * 64 * HIDDEN, 2 * HIDDEN * 10
    passes = 10 * 2 * (first + second) + 2 * first + 3 * second
    known = cost(DENSE, replace(RECIPE, adversary=adversary(8)), data, 0)
    assert known.steps == 3 * 18
    assert known.operations == pytest.approx(3 * 18 * 64 * passes, rel=0.05)
    assert known.seconds == pytest.approx(known.steps * known.seconds_per_step)
    state = 2 * 4 * (64 * HIDDEN + HIDDEN * 10)
    assert known.memory > data.train.images.nbytes + 2 * state


class Slow:
    """A function that takes a twentieth of a second longer."""

    def __init__(self, function):
        self.function, self.lower = function, function.lower

    def __call__(self, *arguments):
        time.sleep(0.05)
        return self.function(*arguments)


@pytest.mark.usefixtures("_timed_for_a_moment")
def test_cost_times_every_step_of_the_adversary(data, monkeypatch):
    def slowed(*arguments):
        made = steps.training_steps(*arguments)
        assert made.ascent
        return made._replace(ascent=made.ascent._replace(climb=Slow(made.ascent.climb)))

    monkeypatch.setattr(cost_module, "training_steps", slowed)
    assert cost(DENSE, replace(RECIPE, adversary=adversary(8, 4)), data, 0).seconds_per_step > 4 * 0.05


# the trainer of the small networks


def test_fit_descends_to_the_minimum_of_a_quadratic_reproducibly():
    split = Split(np.ones((8, 1, 1, 1), np.float32), np.zeros(8, np.int32))

    def run(seed):
        return fit(
            lambda params, key, images, labels: jnp.square(params - 3 * images.mean()).sum(),
            jnp.zeros(2),
            split,
            jax.random.key(seed),
            steps=300,
            batch_size=4,
            learning_rate=0.1,
            title="quadratic",
        )

    np.testing.assert_allclose(run(0), 3, atol=0.01)
    assert np.array_equal(run(0), run(0))
