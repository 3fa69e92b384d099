import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses import zoo
from defenses.weights.cached import Identity, card_path, location, obtain

PARAMS = {"layer": {"weight": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(2)}, "scale": jnp.float32(3)}
IDENTITY = Identity("toy", "digits", 4, {"steps": 7, "widths": [1, 2]})


class Trainer:
    """Counts how often it was asked to train."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return PARAMS, {"seconds": 2.5}


def toy(cache, identity=IDENTITY, train=None, template=PARAMS):
    return obtain(identity, cache, template, train or Trainer(), lambda params: {"accuracy": 0.5})


def test_second_call_reads_the_same_bits_without_training(tmp_path):
    train = Trainer()
    first, second = (
        toy(tmp_path / "new" / "models", train=train),
        toy(tmp_path / "new" / "models", train=train),
    )
    assert train.calls == 1
    assert (first.cached, second.cached) == (False, True)
    assert first.card == second.card
    assert jax.tree.structure(second.params) == jax.tree.structure(PARAMS)
    for stored, given in zip(jax.tree.leaves(second.params), jax.tree.leaves(PARAMS), strict=True):
        assert stored.dtype == given.dtype
        assert stored.shape == given.shape
        assert np.array_equal(stored, given)


def test_the_card_tells_what_how_and_how_good(tmp_path):
    path = toy(tmp_path).path
    card = json.loads(card_path(path).read_text())
    assert card["model"] == "toy"
    assert card["dataset"] == "digits"
    assert card["seed"] == 4
    assert card["recipe"] == IDENTITY.recipe
    assert (card["measured"], card["training"]) == ({"accuracy": 0.5}, {"seconds": 2.5})
    assert card["versions"]["jax"] == jax.__version__
    assert card["command"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, card_path(path).name])


@pytest.mark.parametrize("change", [{"recipe": {"steps": 8}}, {"seed": 5}, {"model": "other"}])
def test_another_identity_is_another_file(tmp_path, change):
    train = Trainer()
    toy(tmp_path, train=train)
    toy(tmp_path, IDENTITY._replace(**change), train=train)
    assert train.calls == 2


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


def empty(path):
    path.write_bytes(b"")


def flip_one_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def replace_by_text(path):
    path.write_text("these are not weights")


def lose_the_card(path):
    card_path(path).unlink()


def spoil_the_card(path):
    card_path(path).write_text('["not", "a card"]')


@pytest.mark.parametrize("damage", [truncate, empty, flip_one_bit, replace_by_text, lose_the_card, spoil_the_card])
def test_damage_is_named_with_what_to_do(tmp_path, damage):
    path = toy(tmp_path).path
    damage(path)
    with pytest.raises(ValueError, match="delete it to train it again") as caught:
        toy(tmp_path)
    assert str(path) in str(caught.value)
    path.unlink()
    assert not toy(tmp_path).cached


def test_weights_of_another_model_are_refused(tmp_path):
    toy(tmp_path)
    with pytest.raises(ValueError, match="arrays are not those of the model"):
        toy(tmp_path, template={**PARAMS, "scale": jnp.zeros(2)})


def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    train = Trainer()
    with pytest.raises(ValueError, match="cache must be a folder that can be written"):
        toy(tmp_path / "file" / "models", train=train)
    assert train.calls == 0


def test_an_interrupted_training_leaves_nothing_to_read(tmp_path):
    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy(tmp_path, train=stopped)
    assert not location(IDENTITY, tmp_path).exists()
    assert not toy(tmp_path).cached


def test_the_zoo_reads_what_it_trained(cnn, purifiers, folders):
    for name in ("cnn", "purifiers"):
        weights = zoo.TRAINED[name](zoo.load("digits", folders.data), 0, folders)
        assert weights.cached
        assert weights.card["measured"]["accuracy"] >= 0.97
    again = zoo.classifier("cnn", folders=folders)
    for a, b in zip(jax.tree.leaves(again.params), jax.tree.leaves(cnn.params), strict=True):
        assert np.array_equal(a, b)
