"""The trainer on losses whose descent is known by hand, and its way back after an interruption."""

import io
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from defenses.data.dataset import Split
from defenses.training import checkpoints, trainer
from defenses.training.small import small_training
from defenses.training.steps import Stepping
from defenses.training.trainer import Diverged, train
from defenses.training.training import Seen

SPLIT = Split(np.linspace(0, 1, 8, dtype=np.float32).reshape(8, 1, 1, 1), np.arange(8, dtype=np.int32))


def noisy(params, key, images, labels):
    """Depends on the batch and on the key: what is drawn wrongly shows."""
    target = 3 * images.mean() + 0.1 * jax.random.normal(key)
    return jnp.square(params["a"] - target).sum() + jnp.square(params["b"] - 1).sum()


def made(steps=250, loss=noisy, optimizer=None, **changes):
    start = {"a": jnp.zeros(2), "b": jnp.full(3, 4.0)}
    training = small_training(
        "quadratic", SPLIT, lambda: start, loss, seed=0, steps=steps, batch_size=4, learning_rate=0.05
    )
    return training._replace(optimizer=optimizer or optax.adam(0.05), **changes)


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_it_descends_and_tells_of_every_round(tmp_path):
    params, history = train(made(), tmp_path / "state")
    np.testing.assert_allclose(params["b"], 1, atol=0.05)
    assert [one["round"] for one in history] == [1, 2, 3]  # of 100, 100 and 50 steps
    assert history[-1]["loss"] < history[0]["loss"] / 5
    assert all((one["precision"], one["device"]) == ("float32", jax.devices()[0].device_kind) for one in history)
    assert not (tmp_path / "state").exists()  # too short to be kept


def by_hand(steps, rate, decay=0.0):
    """Plain descent on |b - 1|² from 4: b ← b - 2 rate (b - 1); and the moving average of b."""
    b = average = 4.0
    for _ in range(steps):
        b -= 2 * rate * (b - 1)
        average = decay * average + (1 - decay) * b
    return b, average


def test_the_moving_average_is_the_result(tmp_path):
    plain_params, _ = train(made(10, optimizer=optax.sgd(0.05)), tmp_path / "a")
    averaged, _ = train(made(10, optimizer=optax.sgd(0.05), average=0.8), tmp_path / "b")
    last, average = by_hand(10, 0.05, 0.8)
    np.testing.assert_allclose(plain_params["b"], last, rtol=1e-5)
    np.testing.assert_allclose(averaged["b"], average, rtol=1e-5)
    assert abs(last - average) > 0.1


def test_what_is_not_trainable_is_what_the_loss_brings(tmp_path):
    def loss(params, key, images, labels):
        return noisy(params, key, images, labels), Seen({**params, "b": params["b"] + 1}, {})

    mask = {"a": True, "b": False}
    params, _ = train(made(7, optimizer=optax.sgd(0.05))._replace(loss=loss, trainable=mask), tmp_path)
    assert np.array_equal(params["b"], np.full(3, 11.0))
    assert (np.asarray(params["a"]) != 0).all()


def test_params_are_projected_after_every_step_and_finished_once(tmp_path):
    clipped = made(100, project=lambda params: {**params, "b": jnp.maximum(params["b"], 2.0)})
    params, _ = train(clipped, tmp_path)
    assert np.array_equal(params["b"], np.full(3, 2.0))
    params, _ = train(clipped._replace(finish=lambda params: {**params, "b": params["b"] + 10}), tmp_path)
    assert np.array_equal(params["b"], np.full(3, 12.0))


def test_it_is_evaluated_after_every_round(tmp_path, capsys):
    params, history = train(made(200, evaluate=lambda params: {"b": float(params["b"][0])}), tmp_path)
    assert history[-1]["b"] == float(params["b"][0])
    assert history[0]["b"] != history[1]["b"]
    shown = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in shown] == ["round 1/2", "round 2/2"]
    assert f"b {history[1]['b']:.4f}" in shown[1]


def test_progress_shows_the_figures_as_numbers(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    train(made(100), tmp_path)
    shown = terminal.getvalue()
    assert re.search(r"steps, loss \d+\.\d{4}", shown)
    assert "Array" not in shown


@pytest.fixture
def kept_always(monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)


def stopped(training, folder, monkeypatch, after):
    """Runs it until the first step of the round after that one."""
    step = Stepping.step

    def stops(self, state, place, order, rows):
        if int(state.step) == after * training.batches.steps + 1:
            raise KeyboardInterrupt
        return step(self, state, place, order, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Stepping, "step", stops)
        with pytest.raises(KeyboardInterrupt):
            train(training, folder)


@pytest.mark.usefixtures("kept_always")
@pytest.mark.parametrize(
    ("average", "after"),
    [(0.0, 2), (0.9, 1), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((0.0, 1), (0.9, 2)))],
)
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path, monkeypatch, average, after):
    training = made(average=average, evaluate=lambda params: {"b": float(params["b"][0])})
    whole, history = train(training, tmp_path / "whole")
    stopped(training, tmp_path / "state", monkeypatch, after)
    rounds, one_round = [], trainer._round
    monkeypatch.setattr(trainer, "_round", lambda *given: (rounds.append(given[2]), one_round(*given))[1])
    params, resumed = train(training, tmp_path / "state")
    assert rounds == list(range(after, 3))
    assert equal(params, whole)
    assert [(one["loss"], one["b"]) for one in resumed] == [(one["loss"], one["b"]) for one in history]


@pytest.mark.usefixtures("kept_always")
def test_a_damaged_state_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    stopped(made(), folder, monkeypatch, 1)
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match="delete it to train from the start") as caught:
        train(made(), folder)
    assert str(folder) in str(caught.value)


@pytest.mark.usefixtures("kept_always")
def test_the_state_of_another_training_is_named(tmp_path, monkeypatch):
    stopped(made(), tmp_path / "state", monkeypatch, 1)
    other = made(loss=lambda params, *_: params["c"].sum(), initial=lambda: {"c": jnp.zeros(5)})
    with pytest.raises(ValueError, match="is damaged or foreign"):
        train(other, tmp_path / "state")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"optimizer": optax.sgd(1e30)}, "loss and weights not finite in round 1"),
        ({"steps": 1, "optimizer": optax.sgd(3e38)}, "weights not finite in round 1"),
        ({"steps": 1, "evaluate": lambda params: {"score": float("nan")}}, "score not finite in round 1"),
    ],
    ids=["loss", "last-update", "evaluation"],
)
def test_numbers_that_explode_are_refused(tmp_path, changes, found):
    with pytest.raises(Diverged, match=f"learning_rate must be small enough for finite numbers: {found}"):
        train(made(**changes), tmp_path)
