"""Our PGD and APGD beside torchattacks and AutoAttack: the same networks and images, JAX gradients for all."""
# pyright: reportMissingImports=false

import os
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifier_training.adversarial import adversary
from defenses.classifier_training.recipe import recipe_for
from defenses.classifier_training.trained import network_for, trained
from defenses.data import digits
from defenses.folders import Folders
from sims.attacks.attack import Threat
from sims.losses import log_likelihood
from sims.oracle import victim_scores
from sims.peers.gradients import differentiable_module
from sims.victims import VictimOptions, load_victim
from sims.white_box.pursuit import Pursuit, pursue
from tests.conftest import compile_lightly
from tests.sims.victims_for_tests import images, labels_of, linear_classifier, no_defense, noise

torch = pytest.importorskip("torch", reason="needs the extra [peers]")
torchattacks = pytest.importorskip("torchattacks", reason="needs the extra [peers]")
autoattack = pytest.importorskip("pyautoattack", reason="needs the extra [peers]")
autopgd = pytest.importorskip("pyautoattack.autopgd_base", reason="needs the extra [peers]")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

DATA = Path(os.environ.get("PUREBOUND_DATA") or Path(__file__).resolve().parents[2] / "data")
BATCH = 100


def tensors(rows):
    return torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 3, 1, 2)))


def pgd(module, epsilon, rows, labels):
    return torchattacks.PGD(module, eps=epsilon, alpha=epsilon / 4, steps=50, random_start=True)(rows, labels)


def apgd(module, epsilon, rows, labels):
    attack = autopgd.APGDAttack(module, n_iter=100, norm="Linf", eps=epsilon, loss="ce", device="cpu")
    return attack.perturb(rows, labels)


PAIRS = {"pgd:steps=50": pgd, "apgd-ce": apgd}


def robust_of(classifier, rows, labels):
    predicted = [
        classifier.logits(classifier.params, jnp.asarray(rows[i : i + BATCH])).argmax(-1)
        for i in range(0, len(rows), BATCH)
    ]
    return np.concatenate([np.asarray(part) for part in predicted]) == labels


def theirs(attack, victim, epsilon):
    module = differentiable_module(victim.classifier, victim.defenses["none"], 0)
    torch.manual_seed(0)
    parts = []
    for i in range(0, len(victim.images), BATCH):
        rows, labels = victim.images[i : i + BATCH], torch.from_numpy(victim.labels[i : i + BATCH].astype(np.int64))
        parts.append(attack(module, epsilon, tensors(rows), labels).detach().permute(0, 2, 3, 1).numpy())
    moved = np.concatenate(parts)
    assert np.abs(moved - victim.images).max() <= epsilon + 1e-6
    return robust_of(victim.classifier, moved, victim.labels)


def ours(text, victim, epsilon):
    caught = pursue(jax.random.key(0), text, Pursuit(Threat("linf", epsilon)), victim, victim.defenses["none"])
    return robust_of(victim.classifier, caught.images, victim.labels)


def test_the_module_has_our_scores_and_gradients():
    classifier, rows = linear_classifier(), images(5)
    labels = labels_of(classifier, rows)
    module, asked = differentiable_module(classifier, no_defense(), 0), tensors(rows).requires_grad_()
    loss = torch.nn.functional.cross_entropy(module(asked), torch.from_numpy(labels.astype(np.int64)), reduction="sum")
    gradient = torch.autograd.grad(loss, [asked])[0].permute(0, 2, 3, 1).numpy()

    def total(rows):
        return -log_likelihood(classifier.logits(classifier.params, rows), jnp.asarray(labels)).sum()

    np.testing.assert_allclose(float(loss), total(jnp.asarray(rows)), rtol=1e-5)
    np.testing.assert_allclose(gradient, jax.grad(total)(jnp.asarray(rows)), rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_draw_that_was_seen():
    classifier, defense, rows = linear_classifier(), noise(0.3), images(5)
    module = differentiable_module(classifier, defense, 0)
    first, second = (module(tensors(rows)).numpy() for _ in range(2))
    assert not np.allclose(first, second)
    asked = tensors(rows).requires_grad_()
    module(asked)[:, 0].sum().backward()
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), 10 + jnp.arange(5))
    scores = victim_scores(classifier, defense)
    expected = jax.grad(lambda x: scores(((), classifier.params), keys, x)[:, 0].sum())(jnp.asarray(rows))
    np.testing.assert_allclose(asked.grad.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.as_users_compile
@pytest.mark.parametrize("text", PAIRS)
@pytest.mark.parametrize("radius", [1, 2, 8])
@pytest.mark.parametrize("model", ["resnet20", "resnet56"])
def test_robust_accuracy_is_within_half_a_point_on_a_thousand_images(model, radius, text, tmp_path):
    if not (DATA / "weights").is_dir():
        pytest.skip(f"no published weights in {DATA.name}/weights")
    victim = load_victim(VictimOptions(model, "cifar10"), ("none",), 1000, Folders(tmp_path, DATA), 0)
    mine, other = ours(text, victim, radius / 255), theirs(PAIRS[text], victim, radius / 255)
    print(f"{model} {radius}/255 {text}: ours {100 * mine.mean():.1f} %, theirs {100 * other.mean():.1f} %")
    assert abs(mine.mean() - other.mean()) <= 0.005
    assert radius < 8 or mine.sum() == 0


TRAINED, RADIUS = 25, 45 / 255  # so far out that about half of the images fall


@pytest.fixture(scope="module")
def robust_victim(tmp_path_factory):
    """ResNet-20 on digits, adversarially trained (PGD-10 within 25/255), and 500 held-out images that it gets right."""
    compile_lightly(False)  # some thousand steps
    models, data = tmp_path_factory.mktemp("models"), digits.load()
    recipe = replace(recipe_for("resnet20", "digits"), epochs=40, adversary=adversary(TRAINED))
    weights = trained(network_for("resnet20", data), recipe, data, 0, models)
    return load_victim(VictimOptions("resnet20", "digits", weights.path), ("none",), 500, Folders(models, DATA), 0)


def standard(module, epsilon, rows, labels):
    return autoattack.AutoAttack(module, eps=epsilon, device="cpu", verbose=False).run_standard_evaluation(rows, labels)


@pytest.mark.slow
@pytest.mark.as_users_compile
def test_the_ensemble_agrees_with_autoattack_on_a_robust_network(robust_victim):
    texts = ("pgd:steps=50", "apgd-ce", "apgd-dlr-targeted", "square", "ensemble")
    left = {text: ours(text, robust_victim, RADIUS).mean() for text in texts}
    public = theirs(standard, robust_victim, RADIUS).mean()
    print({name: f"{100 * share:.1f} %" for name, share in left.items()}, f"AutoAttack {100 * public:.1f} %")
    assert left["apgd-ce"] <= left["pgd:steps=50"]
    assert all(left["ensemble"] <= left[text] for text in texts)
    assert abs(left["ensemble"] - public) <= 0.01
    assert 0.1 < public < 0.95
