"""Foolbox, ART and torchattacks on our victims: same scores, exact counts, every pair, and what is wrong with them."""
# pyright: reportMissingImports=false

import jax.numpy as jnp
import numpy as np
import pytest

from defenses.model import defended
from sims.peers.adapter import CountingVictim, art_classifier, foolbox_model, torch_module
from sims.peers.art_attacks import dct_basis
from sims.peers.peer import Task, run_peer
from sims.peers.table import PEERS
from tests.sims.small_victims import SHAPE, images, labels_of, linear_classifier, no_defense, noise

torch = pytest.importorskip("torch", reason="needs the extra [peers]")
foolbox = pytest.importorskip("foolbox", reason="needs the extra [peers]")
evasion = pytest.importorskip("art.attacks.evasion", reason="needs the extra [peers]")
pytest.importorskip("torchattacks", reason="needs the extra [peers]")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

INF = float("inf")


def started(count, classifier):
    """The first images with their labels, and a start of another class for each."""
    clean = images(12)
    labels = labels_of(classifier, clean)
    starts = np.array([clean[np.flatnonzero(labels != label)[0]] for label in labels])
    return clean[:count], labels[:count].astype(np.int64), starts[:count]


def task(count=4, budget=60, epsilon=INF):
    return Task(*started(count, linear_classifier()), budget, epsilon, 0)


@pytest.fixture(scope="module")
def victim():
    return CountingVictim(defended(linear_classifier(), no_defense()), SHAPE, 0)


@pytest.fixture(scope="module")
def random_victim():
    return CountingVictim(defended(linear_classifier(), noise(0.2)), SHAPE, 0)


def tensors(rows):
    return torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 3, 1, 2)))


def test_all_adapters_give_our_scores_and_count_their_rows(victim):
    classifier, rows, before = linear_classifier(), images(9), victim.rows
    expected = np.asarray(classifier.logits(classifier.params, jnp.asarray(rows)))
    assert np.allclose(torch_module(victim)(tensors(rows)).numpy(), expected, atol=1e-6)
    assert np.allclose(foolbox_model(victim)(tensors(rows)).numpy(), expected, atol=1e-6)
    assert np.allclose(art_classifier(victim).predict(rows.astype(np.float64), batch_size=4), expected, atol=1e-6)
    assert victim.rows - before == 27
    shares = art_classifier(victim, probabilities=True).predict(rows)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(np.log(shares) - np.log(shares[:, :1]), expected - expected[:, :1], atol=1e-5)


def test_libraries_measure_the_accuracy_that_we_measure(victim):
    rows, labels = images(16), np.arange(16) % 4
    right = float((labels_of(linear_classifier(), rows) == labels).mean())
    measured = foolbox.utils.accuracy(foolbox_model(victim), tensors(rows), torch.from_numpy(labels))
    assert measured == pytest.approx(right)


def test_a_gradient_attack_is_refused(victim):
    clean, labels, _ = started(2, linear_classifier())
    attack = foolbox.attacks.LinfPGD(steps=1)
    with pytest.raises(RuntimeError, match="answers queries only"):
        attack.run(foolbox_model(victim), tensors(clean), torch.from_numpy(labels), epsilon=0.1)


@pytest.mark.parametrize("name", PEERS)
def test_every_pair_runs_within_the_budget(victim, name):
    peer = PEERS[name]
    budget = 300 if name == "geoda-art" else 60  # GeoDA divides 500 queries among its steps
    job = task(budget=budget, epsilon=0.2 if peer.goal == "ball" else INF)
    outcome = run_peer(peer, victim, job, peer.batch or 4)
    assert outcome.failure == ""
    assert (outcome.queries <= budget).all()
    assert outcome.forwarded <= 4 * budget
    assert outcome.success.any()
    found = outcome.success
    assert (labels_of(linear_classifier(), outcome.images[found]) != job.labels[found]).all()
    assert (outcome.distance[found] <= job.epsilon + 1e-5).all()
    if peer.goal == "closest":
        lengths = np.sqrt(((job.starts - job.images) ** 2).sum(axis=(1, 2, 3)))
        assert (outcome.distance < lengths).all()  # closer than the start, which it was given


@pytest.mark.parametrize("name", PEERS)
def test_same_seed_same_result(victim, name):
    peer = PEERS[name]
    job = task(2, 300 if name == "geoda-art" else 40, epsilon=0.2 if peer.goal == "ball" else INF)
    first, second = (run_peer(peer, victim, job, peer.batch or 2) for _ in range(2))
    assert (first.images == second.images).all()
    assert first.forwarded == second.forwarded


def test_own_counts(victim):
    """torchattacks leaves out the clean image and the final check; GeoDA its logging and its checks of the clean."""
    square = run_peer(PEERS["square-torchattacks"], victim, task(epsilon=0.02), 4)
    assert not square.success.all()
    assert square.counted == square.forwarded - 2 * 4
    geoda = run_peer(PEERS["geoda-art"], victim, task(budget=300), 1)
    assert geoda.counted is not None
    assert geoda.counted < geoda.forwarded


@pytest.mark.parametrize("name", ["square-torchattacks", "square-art", "simba-art", "spsa-torchattacks", "nes-foolbox"])
def test_score_attacks_run_on_a_random_victim(random_victim, name):
    peer = PEERS[name]
    outcome = run_peer(peer, random_victim, task(epsilon=0.2 if peer.goal == "ball" else INF), peer.batch or 4)
    assert outcome.failure == ""
    assert outcome.forwarded > 0


@pytest.mark.parametrize("name", ["hop-skip-jump-art", "boundary-art", "sign-opt-art"])
def test_decision_attacks_of_art_run_on_a_random_victim(random_victim, name):
    outcome = run_peer(PEERS[name], random_victim, task(), 1)
    assert outcome.failure == ""


def test_hop_skip_jump_of_foolbox_gives_up_on_a_random_victim(random_victim):
    """It asserts that what was adversarial stays so."""
    outcome = run_peer(PEERS["hop-skip-jump-foolbox"], random_victim, task(8, 400), 8)
    assert outcome.failure.startswith("AssertionError") or "starting_points are not adversarial" in outcome.failure
    assert outcome.failed == 8


def test_hop_skip_jump_of_foolbox_normalises_by_the_batch():
    attack = foolbox.attacks.HopSkipJumpAttack()
    points = foolbox.models.base.ep.astensor(tensors(images(9)))
    torch.manual_seed(0)
    always = lambda rows: rows.flatten(start=1)[:, 0] > -1  # noqa: E731
    update = attack.approximate_gradients(always, points, 20, points[:, 0, 0, 0] * 0 + 0.01)
    lengths = update.flatten(start=1).norms.l2(axis=-1).numpy()
    assert np.sqrt((lengths**2).sum()) == pytest.approx(1, abs=1e-4)  # of the whole batch; a step should have length 1
    assert lengths.max() < 0.5


def test_evolution_strategies_of_foolbox_mix_the_images():
    """A loss that does not depend on the first image at all: its estimate should be zero."""
    estimated = foolbox.gradient_estimators.es_gradient_estimator(
        foolbox.attacks.LinfPGD, samples=20, sigma=0.01, bounds=(0, 1), clip=False
    )
    torch.manual_seed(0)
    points = foolbox.models.base.ep.astensor(tensors(images(2)))
    _, gradient = estimated(steps=1).value_and_grad(lambda x: x[1].sum(), points)
    assert gradient[0].norms.l2().item() > 0.1


def test_geoda_fails_without_our_basis(victim, tmp_path, monkeypatch):
    """ART 1.20.1 calls np.mat, which NumPy 2 removed; the basis that we lay down is the one it would make."""
    clean, labels, _ = started(1, linear_classifier())
    attack = evasion.GeoDA(art_classifier(victim), max_iter=300, sub_dim=4, verbose=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AttributeError, match=r"np\.mat"):
        attack.generate(clean, labels)
    monkeypatch.setattr(np, "mat", np.asmatrix, raising=False)
    assert np.allclose(attack._generate_2d_dct_basis(4, SHAPE[0]), dct_basis(4, SHAPE[0]), atol=1e-12)


def test_boundary_of_art_crashes_on_its_own_torch_classifier():
    """Under NumPy 2 it hands over float64; our black-box classifier takes any."""
    from art.estimators.classification import PyTorchClassifier

    clean, _, starts = started(1, linear_classifier())
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4))
    wrapped = PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), (1, 6, 6), 4, clip_values=(0, 1), device_type="cpu")
    attack = evasion.BoundaryAttack(wrapped, targeted=False, max_iter=2, verbose=False)
    clean, starts = clean.transpose(0, 3, 1, 2), starts.transpose(0, 3, 1, 2)
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[0] = torch.from_numpy((clean - starts).reshape(-1))  # class 0 on the clean side
        model[1].bias.zero_()
        model[1].bias[1] = float(((clean - starts) * (clean + starts) / 2).sum())
    with pytest.raises(RuntimeError, match="Double"):
        attack.generate(clean, np.zeros(1, np.int64), x_adv_init=starts)
