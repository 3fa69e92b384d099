"""Our white-box attacks beside torchattacks and AutoAttack: the same networks and images, JAX gradients for all."""
# pyright: reportMissingImports=false

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.architectures import recipe_for
from defenses.data import digits
from defenses.model import defended, undefended
from defenses.training.adversarial import adversary
from defenses.weights.trained_classifier import network_for, trained_classifier
from sims.attacks.attack import Threat
from sims.attacks.ball import lengths
from sims.command_line import main
from sims.peers.gradient_attacks import GRADIENT_PEERS, GradientTask, run_gradient_peer
from sims.peers.gradients import differentiable_module
from sims.victims.losses import log_likelihood
from sims.victims.victim import Victim
from sims.white_box.restarts import AttackPlan, with_restarts
from tests.conftest import compile_lightly
from tests.paths import DATA
from tests.sims.small_victims import images, labels_of, linear_classifier, no_defense, noise

torch = pytest.importorskip("torch", reason="needs the extra [peers]")
pytest.importorskip("torchattacks", reason="needs the extra [peers]")
pytest.importorskip("pyautoattack", reason="needs the extra [peers]")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


def tensors(rows):
    return torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 3, 1, 2)))


def test_the_module_has_our_scores_and_gradients():
    classifier, rows = linear_classifier(), images(5)
    labels = labels_of(classifier, rows)
    module = differentiable_module(defended(classifier, no_defense()), 0)
    asked = tensors(rows).requires_grad_()
    loss = torch.nn.functional.cross_entropy(module(asked), torch.from_numpy(labels.astype(np.int64)), reduction="sum")
    gradient = torch.autograd.grad(loss, [asked])[0].permute(0, 2, 3, 1).numpy()

    def total(rows):
        return -log_likelihood(classifier.logits(classifier.params, rows), jnp.asarray(labels)).sum()

    np.testing.assert_allclose(float(loss), total(jnp.asarray(rows)), rtol=1e-5)
    np.testing.assert_allclose(gradient, jax.grad(total)(jnp.asarray(rows)), rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_draw_that_was_seen():
    model, rows = defended(linear_classifier(), noise(0.3)), images(5)
    module = differentiable_module(model, 0)
    first, second = (module(tensors(rows)).numpy() for _ in range(2))
    assert not np.allclose(first, second)
    asked = tensors(rows).requires_grad_()
    module(asked)[:, 0].sum().backward()
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), 10 + jnp.arange(5))
    expected = jax.grad(lambda x: model.scores(model.params, keys, x)[:, 0].sum())(jnp.asarray(rows))
    np.testing.assert_allclose(asked.grad.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-4, atol=1e-6)


RADII = {"linf": 0.03, "l2": 0.15}  # about half of the images fall


@pytest.mark.parametrize("name", [name for name in GRADIENT_PEERS if name != "ensemble-autoattack"])
def test_both_sides_break_the_same_images_of_a_linear_network(name):
    """The best point of a linear network's ball is known: whoever misses it is wrong, and a weak twin does.

    AutoAttack's ensemble wants more than nine classes.
    """
    peer, classifier, clean = GRADIENT_PEERS[name], linear_classifier(), images(12)
    labels, radius = labels_of(classifier, clean), RADII[peer.norm]
    model = defended(classifier, no_defense())
    victim = Victim({"none": model}, {"linear": undefended(classifier)}, clean, labels, np.arange(12))
    module = differentiable_module(model, 0)
    theirs = run_gradient_peer(peer, module, GradientTask(clean, labels, radius, 0))
    ours, weak = (
        with_restarts(jax.random.key(0), peer.ours, AttackPlan(Threat(peer.norm, within)), victim, model).images
        for within in (radius, radius / 3)
    )
    left, other, weaker = (labels_of(classifier, final) == labels for final in (ours, theirs, weak))
    assert 0 < left.sum() < 12
    assert np.array_equal(left, other)
    assert weaker.sum() > left.sum()
    assert lengths(peer.norm, theirs.astype(np.float64) - clean).max() <= radius * (1 + 1e-5)


def compared(capsys, out, *options):
    """The rows of `compare-white-box` by pair, `ok` those of its exit status."""
    capsys.readouterr()
    status = main(["compare-white-box", *options, "--data-dir", str(DATA), "--out", str(out), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert status == (0 if found["ok"] else 1)
    return {row["pair"]: row for row in found["rows"]}


@pytest.mark.slow
@pytest.mark.as_users_compile
@pytest.mark.parametrize("radius", [1, 2, 8])
@pytest.mark.parametrize("model", ["resnet20", "resnet56"])
def test_robust_accuracy_is_within_half_a_point_on_a_thousand_images(model, radius, capsys, tmp_path):
    if not (DATA / "weights").is_dir():
        pytest.skip(f"no published weights in {DATA.name}/weights")
    starts = 3 if radius == 1 else 1  # at 1/255 a single start decides more images than half a point
    options = ["--epsilon", str(radius / 255), "--starts", str(starts)]
    rows = compared(capsys, tmp_path, "--model", model, "--dataset", "cifar10", *options)
    assert all(row["ok"] for row in rows.values())
    assert radius < 8 or all(row["ours"] == 0 for row in rows.values())


TRAINED, RADIUS = 25, 45 / 255  # so far out that about half of the images fall


@pytest.mark.slow
@pytest.mark.as_users_compile
def test_the_ensemble_agrees_with_autoattack_on_a_robust_network(capsys, tmp_path):
    """ResNet-20 on digits, adversarially trained (PGD-10 within 25/255), on 500 held-out images that it gets right."""
    compile_lightly(False)  # some thousand steps
    data = digits.load()
    recipe = replace(recipe_for("resnet20", "digits"), epochs=40, adversary=adversary(TRAINED))
    weights = trained_classifier(network_for("resnet20", data), recipe, data, 0, tmp_path / "models")
    victim = ["--model", "resnet20", "--weights", str(weights.path), "--images", "500", "--epsilon", str(RADIUS)]
    pairs = ["pgd-torchattacks", "apgd-ce-autoattack", "apgd-dlr-autoattack", "ensemble-autoattack"]
    rows = compared(capsys, tmp_path, *victim, "--pairs", *pairs)
    left = {name.rpartition("-")[0]: row["ours"] for name, row in rows.items()}
    alone = ["--defenses", "none", "--attacks", "apgd-dlr-targeted", "square", "--out", str(tmp_path), "--json"]
    assert main(["white-box", *victim, *alone]) == 0
    members = json.loads(capsys.readouterr().out)["rows"]
    left |= {row["attack"]: row["robust_average_of_n"] for row in members}
    assert left["apgd-ce"] <= left["pgd"]
    assert all(left["ensemble"] <= share for share in left.values())
    assert rows["ensemble-autoattack"]["ok"]
    assert 0.1 < rows["ensemble-autoattack"]["theirs"] < 0.95
