"""Mistakes in a user's file that would give wrong numbers in silence: each gets one line, and honest twins none."""

import jax
import numpy as np
import pytest

from defenses import zoo
from defenses.files.folders import Folders
from defenses.purifiers.table import read_defense

HEAD = """
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from defenses.defense import Defense
from defenses.model import undefended


class Net(nnx.Module):
    def __init__(self, rngs):
        self.norm, self.drop = nnx.BatchNorm(64, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.head, self.rngs = nnx.Linear(64, 10, rngs=rngs), rngs

    def __call__(self, images):
        return self.head(self.drop(self.norm(images.reshape(len(images), -1))))


class Jitted(Net):
    @nnx.jit
    def __call__(self, images):
        return super().__call__(images)


class Noisy(Net):
    def __call__(self, images):
        return super().__call__(images + jax.random.normal(self.rngs.noise(), images.shape))


def ready(net):
    net.eval()
    return net


def numpy_scores(images):
    return np.array(images).reshape(len(images), -1)[:, 10:20]


def host(function):
    return Defense("host", {}, lambda params, keys, images: function(np.array(images)), False)


"""
BATCH, STATE, AXES = (
    "not by the rest of the batch: call .eval()",
    "changes the state of its Flax network",
    "(n, h, w, c)",
)
WRONG_MODELS = {
    "dropout left on": ("MINE = Net(nnx.Rngs(0))\nMINE.norm.use_running_average = True", BATCH),
    "batch norm left on": ("MINE = ready(Net(nnx.Rngs(0)))\nMINE.norm.use_running_average = False", BATCH),
    "random numbers of its own": ("MINE = ready(Noisy(nnx.Rngs(0)))", BATCH),
    "a function around a network in training": ("net = Net(nnx.Rngs(0))\ndef MINE(x): return net(x)", STATE),
    "nnx.jit in a function": ("net = ready(Jitted(nnx.Rngs(0)))\ndef MINE(x): return net(x)", STATE),
    "batch statistics on the host": ("def MINE(x): return numpy_scores(x) - numpy_scores(x).mean(axis=0)", BATCH),
    "its place in the batch": ("def MINE(x): return numpy_scores(x) + np.arange(len(x))[:, None]", BATCH),
    "other axes": ("def MINE(x): return x.reshape(len(x), 3, -1)[..., :10].sum(axis=1)", AXES),
}  # fmt: skip
HONEST_MODELS = {
    "a network": "MINE = ready(Net(nnx.Rngs(0)))",
    "a network that jits itself": "MINE = ready(Jitted(nnx.Rngs(0)))",
    "a function around a network": "net = ready(Net(nnx.Rngs(0)))\ndef MINE(x): return net(x)",
    "shares that are no probabilities": "def MINE(x): return jax.nn.sigmoid(x.reshape(len(x), -1)[:, 10:20])",
    "logarithms of probabilities": "def MINE(x): return jax.nn.log_softmax(x.reshape(len(x), -1)[:, 10:20])",
}
SOFTMAX = {
    "traced": "def MINE(x): return jax.nn.softmax(x.reshape(len(x), -1)[:, 10:20])",
    "on the host": "def MINE(x): return np.array(jax.nn.softmax(numpy_scores(x)))",
}
WRONG_DEFENSES = {
    "the mean of the batch": ("MINE = Defense('m', {}, lambda p, k, x: (x + x.mean(axis=0)) / 2, False)", BATCH),
    "one key for all rows": (
        "def noisy(p, k, x): return jnp.clip(x + 0.1 * jax.random.normal(k[0], x.shape), 0, 1)\n"
        "MINE = Defense('m', {}, noisy, True)", BATCH),
    "the mean of the batch on the host": ("MINE = host(lambda x: (x + x.mean(axis=0)) / 2)", BATCH),
    "other axes on the host": ("MINE = host(lambda x: x @ np.ones((3, 1)))", "fails: ValueError: matmul: "),
    "a function of images": ("def MINE(images): return images.clip(0, 1)", "a function is given a Model"),
}  # fmt: skip
HONEST_DEFENSES = {
    "a key for each row": (
        "noise = jax.vmap(lambda key: 0.1 * jax.random.normal(key, (8, 8, 1)))\n"
        "MINE = Defense('m', {}, lambda p, k, x: jnp.clip(x + noise(k), 0, 1), True)"
    ),
    "steps": "MINE = Defense('m', {}, lambda p, k, x: jnp.round(x * 3) / 3, False)",
}


@pytest.fixture
def loaded(tmp_path):
    """(text of a file) -> the model MINE in it."""

    def load(text):
        (tmp_path / "mine.py").write_text(HEAD + text)
        return zoo.loaded(zoo.read_model(f"{tmp_path / 'mine.py'}:MINE"), "digits", 0, Folders()).model

    return load


@pytest.fixture
def guarded(tmp_path, loaded):
    """(text of a file) -> an honest network behind the defence MINE in it."""

    def guard(text):
        model = loaded(HONEST_MODELS["a network"])
        (tmp_path / "guard.py").write_text(HEAD + text)
        return zoo.guard(read_defense(f"{tmp_path / 'guard.py'}:MINE"))(model)

    return guard


def refused(capsys, load, text, complaint):
    """Loading the file fails with that line, and nothing else is said, by JAX neither."""
    with pytest.raises(ValueError, match="MINE") as caught:
        load(text)
    assert complaint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("text", "complaint"), WRONG_MODELS.values(), ids=WRONG_MODELS.keys())
def test_a_wrong_model_gets_one_line(text, complaint, loaded, capsys):
    refused(capsys, loaded, text, complaint)


@pytest.mark.parametrize(("text", "complaint"), WRONG_DEFENSES.values(), ids=WRONG_DEFENSES.keys())
def test_a_wrong_defense_gets_one_line(text, complaint, guarded, capsys):
    refused(capsys, guarded, text, complaint)


@pytest.mark.parametrize("text", HONEST_MODELS.values(), ids=HONEST_MODELS.keys())
def test_an_honest_model_gets_none(text, loaded, capsys):
    model = loaded(text)
    assert not model.randomized
    assert model.has_gradient
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", HONEST_DEFENSES.values(), ids=HONEST_DEFENSES.keys())
def test_an_honest_defense_gets_none(text, guarded, capsys):
    assert guarded(text).has_gradient
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("where", SOFTMAX)
def test_probabilities_are_told_of_and_evaluated_anyway(where, loaded, capsys):
    model, said = loaded(SOFTMAX[where]), capsys.readouterr().err.splitlines()
    assert len(said) == 1 + (where == "on the host")  # which is told too
    assert "MINE seems to return probabilities" in said[0]
    scores = model.scores(model.params, jax.random.split(jax.random.key(0), 3), np.full((3, 8, 8, 1), 0.5, np.float32))
    np.testing.assert_allclose(scores, 0.1, rtol=1e-5)


def test_what_is_random_on_the_host_is_taken_for_it_and_says_so(loaded, capsys):
    """Two outcomes, the same at first."""
    text = (
        "coin = np.random.default_rng(4)\ndef MINE(x): return numpy_scores(x) * coin.choice([-1, 1], len(x))[:, None]"
    )
    assert loaded(text).randomized
    slower, random = capsys.readouterr().err.splitlines()
    assert "runs on the host" in slower
    assert "answers differently each time: taken for a random model; if it is none, call .eval()" in random


TORCH = """
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(1, 10, 3), {middle}, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
{mode}


def rows(images):
    return torch.from_numpy(np.array(images))


"""
PERMUTED = "def MINE(x): return net(rows(x).permute(0, 3, 1, 2)).detach()"
TORCH_MISTAKES = {
    "batch norm in training": ("torch.nn.BatchNorm2d(10)", "", PERMUTED, BATCH),
    "axes as they come": ("torch.nn.ReLU()", "", "def MINE(x): return net(rows(x)).detach()", AXES),
    "a module": ("torch.nn.ReLU()", "", "MINE = net", "needs a function around it"),
    "gradients": ("torch.nn.ReLU()", "", PERMUTED.replace(".detach()", ""), "Use tensor.detach().numpy() instead"),
}


@pytest.mark.parametrize(("middle", "mode", "text", "complaint"), TORCH_MISTAKES.values(), ids=TORCH_MISTAKES.keys())
def test_mistakes_with_pytorch_get_one_line(middle, mode, text, complaint, loaded, capsys):
    pytest.importorskip("torch", reason="needs the extra [torch]")
    refused(capsys, loaded, TORCH.format(middle=middle, mode=mode) + text, complaint)


def test_a_network_of_pytorch_is_evaluated_and_dropout_left_on_is_told_of(loaded, capsys):
    pytest.importorskip("torch", reason="needs the extra [torch]")
    for middle in ("torch.nn.BatchNorm2d(10)", "torch.nn.Dropout()"):
        assert not loaded(TORCH.format(middle=middle, mode="net.eval()") + PERMUTED).randomized
        assert len(capsys.readouterr().err.splitlines()) == 1  # that it runs on the host
    assert loaded(TORCH.format(middle="torch.nn.Dropout()", mode="") + PERMUTED).randomized
    assert "call .eval()" in capsys.readouterr().err.splitlines()[1]
