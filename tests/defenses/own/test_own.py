"""A user's own models and defences: those of the README, what jit cannot trace, and what is wrong in such a file."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses import zoo
from defenses.command_line import main
from defenses.files.folders import Folders
from defenses.model import undefended
from defenses.purifiers.table import build, read_defense
from sims.command_line import main as simulate
from tests.paths import ROOT

README = (ROOT / "defenses" / "own" / "README.md").read_text()
EXAMPLES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", README, re.M | re.S))
HEAD = """
import jax
import jax.numpy as jnp
import numpy as np

from defenses.defense import Defense


def noisy(params, keys, images):
    return jnp.clip(images + 0.1 * jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys), 0, 1)


"""
WRONG = {
    "another shape": ("MINE = Defense('m', {}, lambda p, k, x: x[:, :4], False)", "must return images of shape"),
    "pixels up to 255": ("MINE = Defense('m', {}, lambda p, k, x: 255 * x, False)", "got values from 0 to 255: clip"),
    "no number": ("MINE = Defense('m', {}, lambda p, k, x: x * jnp.nan, False)", "must return finite numbers, got nan"),
    "keys ignored": ("MINE = Defense('m', {}, lambda p, k, x: x, True)", "declared random and ignores its keys"),
    "keys used": ("MINE = Defense('m', {}, noisy, False)", "declared deterministic"),
    "an error of its own": ("def MINE(model):\n    raise KeyError('no')", "KeyError"),
    "no model at all": ("def MINE(model):\n    return 3", "must give a Model, got int"),
    "settings without defaults": (
        "import dataclasses\n@dataclasses.dataclass\nclass MINE:\n    a: float\n    def build(self): pass",
        "missing 1 required positional argument",
    ),
    "no such thing": ("MINE = 3", "must be a defense, a function or a dataclass with build()"),
    "a name that is not there": ("OTHER = 3", "must name something in"),
    "a file that does not run": ("import nothing_of_that_name", "cannot be run: ModuleNotFoundError"),
}  # fmt: skip


def written(folder, name, text):
    (folder / name).write_text(text)
    return str(folder / name)


def evaluated(capsys, *arguments):
    status = main(["evaluate", *arguments, "--json"])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_gets_one_clear_line(text, complaint, tmp_path, models, capsys):
    (tmp_path / "models").symlink_to(models)
    file = written(tmp_path, "mine.py", HEAD + text)
    status, out, err = evaluated(capsys, "cnn", "--defense", f"{file}:MINE", "--out", str(tmp_path))
    assert status == 2
    assert out == ""
    assert complaint in err
    assert len(err.strip().splitlines()) == 1


def test_the_examples_of_the_folder_are_evaluated_measured_and_attacked(tmp_path, models, capsys):
    (tmp_path / "models").symlink_to(models)
    file = written(tmp_path, "mine.py", EXAMPLES["mine.py"])
    out = ["--out", str(tmp_path), "--json"]
    status, shown, _ = evaluated(capsys, f"{file}:NETWORK", "--defense", f"{file}:Wobble", "--out", str(tmp_path))
    assert status == 0
    assert 0.2 < json.loads(shown)["accuracy"] < 0.6  # 0.9 without the wobble, 0.1 by chance
    both = ["--defenses", f"{file}:Wobble", f"{file}:Wobble:pixels=2", "--images", "3"]
    assert simulate(["diversity", *both, "--draws", "32", *out]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["defense"] for row in rows] == [f"{file}:Wobble", f"{file}:Wobble:pixels=2"]
    assert 0 < rows[0]["nu2"] < rows[1]["nu2"] < rows[1]["nu"]
    attack = ["--attacks", "square", "--images", "4", "--query-budget", "20", "--draws", "2", "--evaluations", "2"]
    assert simulate(["attack", "--model", f"{file}:NETWORK", "--defenses", "none", *attack, *out]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["defense"] == "none"


def test_a_pytorch_purifier_runs_on_the_host(tmp_path, models, capsys):
    pytest.importorskip("torch", reason="needs the extra [torch]")
    check_on_host(written(tmp_path, "theirs.py", EXAMPLES["theirs.py"]) + ":BLUR", tmp_path, models, capsys)


def test_what_jit_cannot_trace_runs_on_the_host(tmp_path, models, capsys):
    """As PyTorch's does; it is random, and seeded by its keys."""
    text = """
def apply(params, keys, images):
    seeds = [np.random.default_rng([int(n) for n in key]) for key in keys]
    return np.stack([np.clip(x + 0.05 * r.normal(size=x.shape), 0, 1) for r, x in zip(seeds, images)])


MINE = Defense("mine", {}, apply, True)
"""
    check_on_host(written(tmp_path, "mine.py", HEAD + text) + ":MINE", tmp_path, models, capsys)


def check_on_host(name, folder, models, capsys):
    (folder / "models").symlink_to(models)
    status, out, err = evaluated(capsys, "cnn", "--defense", name, "--out", str(folder))
    assert status == 0
    assert json.loads(out)["accuracy"] > 0.5
    assert err.splitlines()[0] == f"{name} cannot be traced by jit: it runs on the host, slower and without a gradient"
    white_box = ["--attacks", "fgsm", "--images", "2", "--evaluations", "1", "--defenses", name, "--out", str(folder)]
    assert simulate(["white-box", *white_box]) == 2
    assert "has no gradient" in capsys.readouterr().err
    attack = ["--attacks", "nes", "--images", "2", "--query-budget", "70", "--draws", "2", "--evaluations", "2"]
    assert simulate(["attack", "--defenses", name, *attack, "--out", str(folder), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert (row["defense"], row["slow_down_predicted"]) == (name, None)  # theory asks for a gradient


def test_a_model_of_more_classes_than_the_data_is_said(tmp_path, capsys):
    text = "def WIDE(images):\n    return jnp.pad(images.reshape(len(images), -1), ((0, 0), (0, 936)))\n"
    file = written(tmp_path, "mine.py", HEAD + text)
    status, _, err = evaluated(capsys, f"{file}:WIDE")
    assert status == 0
    assert "gives scores of 1000 classes, digits has 10: label 0 is taken for its score 0, and so on; --classes" in err


def test_models_that_are_no_models_and_networks_with_a_stream_of_their_own(tmp_path, models, capsys):
    text = "from flax import nnx\n\ndef TOTAL(images):\n    return images.sum()\n\n\nclass Net(nnx.Module):\n"
    text += "    def __init__(self, rngs):\n        self.drop = nnx.Dropout(0.5, rngs=rngs)\n"
    text += "        self.head = nnx.Linear(64, 10, rngs=rngs)\n\n    def __call__(self, x):\n"
    text += "        return self.head(self.drop(x.reshape(len(x), -1)))\n\n\nNET = Net(nnx.Rngs(0))\nNET.eval()\n"
    file = written(tmp_path, "mine.py", HEAD + text)
    status, _, err = evaluated(capsys, f"{file}:TOTAL")
    assert status == 2
    assert "must return scores of shape (2, classes), got ()" in err
    attack = ["--attacks", "null", "--images", "2", "--query-budget", "2", "--draws", "2", "--evaluations", "1"]
    folder = ["--out", str(tmp_path), "--json"]
    assert simulate(["attack", "--model", f"{file}:NET", "--defenses", "none", *attack, *folder]) == 0
    capsys.readouterr()


def test_a_chain_meets_the_image_from_left_to_right(models):
    folders = Folders(models=models)
    network = undefended(zoo.classifier("cnn", folders=folders))
    site, images = zoo.site("digits", 0, folders), jnp.full((2, 8, 8, 1), 0.3).at[:, 3, 3].set(0.9)
    fine_last = build(read_defense("quantizer:levels=2+mean-filter"), site)(network)
    coarse_last = build(read_defense("mean-filter+quantizer:levels=2"), site)(network)
    keys = jax.random.split(jax.random.key(0))
    assert fine_last.purify is not None
    assert coarse_last.purify is not None
    assert (fine_last.purify(fine_last.params, keys, images)[:, 2:5, 2:5] == np.float32(1) / 9).all()
    assert set(np.unique(coarse_last.purify(coarse_last.params, keys, images))) <= {0.0, 1.0}
    assert fine_last.name == "quantizer:levels=2+mean-filter"


def test_the_mean_of_runs_costs_passes_and_divides_v(models):
    folders = Folders(models=models)
    network = zoo.classifier("cnn", folders=folders)
    noise = zoo.guard(read_defense("gaussian-noise:std=0.1"), folders=folders)(undefended(network))
    mean = zoo.guard(read_defense("mean-of:runs=9+gaussian-noise:std=0.1"), folders=folders)(undefended(network))
    assert (noise.passes, mean.passes) == (1, 9)
    image = jnp.repeat(zoo.load("digits", folders.data).test.images[:1], 512, axis=0)
    keys = jax.random.split(jax.random.key(0), 512)
    one, nine = (np.asarray(model.scores(model.params, keys, image))[:, 0] for model in (noise, mean))
    ratio = one.var(ddof=1) / nine.var(ddof=1)
    assert abs(ratio / 9 - 1) < 4 * np.sqrt(4 / 511)  # 4 standard errors of the ratio of two variances
    assert mean.purify is None  # there is no one image between the runs and their mean
