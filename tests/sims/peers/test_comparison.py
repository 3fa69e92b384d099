"""Comparison with other libraries, as far as it needs none: accounts, the cut, verdicts, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from defenses.files.folders import Folders
from defenses.model import defended, undefended
from sims.attacks.ball import Norm
from sims.attacks.table import read_attack
from sims.command_line import main
from sims.experiments.experiment import Context
from sims.peers import comparison as compare
from sims.peers import table
from sims.peers.account import Account
from sims.peers.adapter import TILES, CountingVictim
from sims.peers.comparison_report import quality_row
from sims.peers.peer import Goal, Peer, Task, run_peer
from sims.victims.victim import Victim
from tests.sims.small_victims import SHAPE, images, labels_of, linear_classifier, no_defense, noise

INF = float("inf")


def scores(*labels):
    """Scores of two classes whose best is the given one."""
    return np.eye(2)[list(labels)]


def account(count, epsilon=INF, budget=3, closest=False):
    clean = np.linspace(0, 1, count)[:, None, None, None] * np.ones((1, 2, 2, 1))
    return Account(clean, np.zeros(count, int), "linf", epsilon, budget, closest)


def ask(book, rows, answers):
    """One call of a peer: charge, answer, credit."""
    owners = book.owners(rows)
    paid, goes_on = book.open(owners)
    book.credit(rows, owners, paid, answers)
    return goes_on


def test_first_adversarial_image_in_the_ball_is_credited():
    book = account(1, epsilon=0.1)
    near, far = np.full((1, 2, 2, 1), 0.05), np.full((1, 2, 2, 1), 0.2)
    assert ask(book, far, scores(1))  # fools, but outside
    assert ask(book, near, scores(0))
    assert not book.success
    assert ask(book, near, scores(1))
    assert book.success
    assert book.queries == 3
    assert book.distance == pytest.approx(0.05)
    assert not ask(book, np.zeros((1, 2, 2, 1)), scores(1))  # beyond the budget, and nothing is left to find
    assert book.distance == pytest.approx(0.05)
    assert book.spent == 4


def test_rows_beyond_the_budget_credit_nothing():
    book = account(1, budget=2, closest=True)
    rows = np.array([0.5, 0.4, 0.3])[:, None, None, None] * np.ones((1, 2, 2, 1))
    assert not ask(book, rows, scores(1, 1, 1))
    assert book.distance == pytest.approx(0.4)
    assert book.queries == 2


def test_closest_adversarial_image_is_credited_and_rows_outside_the_box_are_not():
    book = account(1, budget=9, closest=True)
    for value, answer in ((0.5, 1), (-0.1, 1), (0.2, 1), (0.3, 1), (0.1, 0)):
        ask(book, np.full((1, 2, 2, 1), value), scores(answer))
    assert book.distance == pytest.approx(0.2)
    assert book.outside == 1


def test_owners():
    ball, free = account(3, epsilon=0.1), account(3)
    rows = np.array([0.95, 0.05, 0.5, 1.0])[:, None, None, None] * np.ones((1, 2, 2, 1))
    assert ball.owners(rows).tolist() == [2, 0, 1, 2]
    assert free.owners(np.tile(rows[:3], (2, 1, 1, 1))).tolist() == [0, 1, 2, 0, 1, 2]


def test_rows_in_a_ball_belong_to_the_image_nearest_in_its_norm():
    """Every image differs from its nearest neighbour a little everywhere and by more than 2ε in one pixel.

    Moved towards it by ε in ℓ∞, the row is nearer to the neighbour in ℓ2.
    """
    draw, epsilon = np.random.default_rng(0), 0.15
    first = draw.uniform(0.2, 0.4, (8, 8, 8, 1))
    second = first + draw.uniform(0.05, 0.15, first.shape)
    second[:, 3, 3] = first[:, 3, 3] + 0.4
    clean, neighbours = np.concatenate([first, second]), np.concatenate([second, first])
    rows = clean + np.clip(neighbours - clean, -epsilon, epsilon)
    to_own, to_other = (((rows - images) ** 2).sum(axis=(1, 2, 3)) for images in (clean, neighbours))
    assert (to_other < to_own).all()
    own = np.arange(16)
    expected_owners: dict[Norm, np.ndarray] = {"linf": own, "l2": (own + 8) % 16}
    for norm, expected in expected_owners.items():
        book = Account(clean.astype(np.float32), np.zeros(16, int), norm, epsilon, 3, False)
        assert book.owners(rows.astype(np.float32)).tolist() == expected.tolist()
        assert book.owners(clean.astype(np.float32)).tolist() == own.tolist()


def test_an_attack_on_several_images_goes_on_while_one_can_be_helped():
    book = account(2, budget=2)
    rows = np.zeros((2, 2, 2, 1))
    assert ask(book, rows, scores(1, 0))
    assert ask(book, rows, scores(0, 0))
    assert not ask(book, rows[:1], scores(0))
    assert book.success.tolist() == [True, False]
    assert book.queries.tolist() == [1, 2]


@pytest.fixture(scope="module")
def victim():
    return CountingVictim(defended(linear_classifier(), no_defense()), SHAPE, 0)


def test_the_victim_answers_with_our_scores_and_counts_rows(victim):
    classifier, before = linear_classifier(), victim.rows
    rows = images(TILES[0] + TILES[1] + 2)  # every tile is used
    expected = classifier.logits(classifier.params, jnp.asarray(rows))
    assert np.allclose(victim(rows.astype(np.float64)), expected, atol=1e-6)
    assert victim.rows - before == len(rows)


def test_every_row_draws_a_fresh_key_of_the_defence():
    victim = CountingVictim(defended(linear_classifier(), noise(0.3)), SHAPE, 0)
    same = np.repeat(images(1), 8, axis=0)
    answers = np.concatenate([victim(same), victim(same)])
    assert len(np.unique(answers, axis=0)) == 16


def peer(run, goal: Goal = "ball", batch: int | None = 1):
    return Peer("fake", "fake", read_attack("null"), "linf", goal, batch, True, run, "a note")


def task(victim, budget=7, epsilon=0.3):
    clean = images(4)
    return Task(clean, labels_of(linear_classifier(), clean), clean[::-1], budget, epsilon, 0)


def test_a_peer_is_cut_at_the_budget(victim):
    def endless(victim, task):
        while True:
            victim(np.repeat(task.images, 3, axis=0))

    outcome = run_peer(peer(endless), victim, task(victim), 1)
    assert outcome.forwarded == 4 * 7
    assert outcome.queries.tolist() == [7] * 4
    assert not outcome.success.any()
    assert outcome.failure == ""
    assert outcome.counted is None
    assert victim.account is None


def test_a_peer_reports_its_count_and_its_exception(victim):
    def broken(victim, task):
        victim(task.starts)
        if task.seed == 2:  # the third image
            raise IndexError("list index out of range")
        return 5

    outcome = run_peer(peer(broken, "any"), victim, task(victim, epsilon=INF), 1)
    assert outcome.failure == "IndexError: list index out of range"
    assert outcome.failed == 1
    assert outcome.counted is None  # not of all images
    assert run_peer(peer(broken, "any"), victim, task(victim)._replace(seed=7), 1).counted == 20
    different = labels_of(linear_classifier(), images(4)[::-1]) != labels_of(linear_classifier(), images(4))
    assert (outcome.success == different).all()


@pytest.mark.parametrize(
    ("goal", "ours", "theirs", "ok"),
    [
        ("ball", [1, 1, INF, INF] * 9, [1, INF, INF, INF] * 9, True),  # robust 0.5 against 0.75
        ("ball", [1, INF, INF, INF] * 9, [1, 1, INF, INF] * 9, False),
        ("ball", [1, INF] * 9 + [INF], [INF, 1] * 9 + [1], True),  # ours leaves one more, which luck explains
        ("closest", [1.09] * 9, [1.0] * 9, True),
        ("closest", [1.11] * 9, [1.0] * 9, False),
    ],
)
def test_verdicts(goal, ours, theirs, ok):
    cell = xr.Dataset({"distance": (("side", "image"), np.array([ours, theirs]))})
    row = quality_row(peer(None, goal), cell, 0)
    assert row["ok"] is ok
    assert row["ours"] == (np.median(ours) if goal == "closest" else np.isinf(ours).mean())


def test_missing_packages_are_named_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(table, "find_spec", lambda name: None if name in ("torch", "foolbox") else object())
    assert main(["compare", "--pairs", "nes-foolbox", "--out", str(tmp_path)]) == 2
    complaint = capsys.readouterr().err.strip()
    assert complaint == ("error: comparisons need the extra [peers], see `make test-peers`; missing: foolbox, torch")


def test_an_unknown_pair_is_refused(capsys):
    assert main(["compare", "--pairs", "square-nobody", "--dry-run"]) == 2
    assert "pairs must be of square-torchattacks, " in capsys.readouterr().err


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison of our null attack, which compiles fast, with random signs inside the ball, on a tiny victim."""

    def signs(victim, task):
        rng = np.random.default_rng(task.seed)
        while True:
            steps = rng.choice([-task.epsilon, task.epsilon], size=task.images.shape)
            victim(np.clip(task.images + steps, 0, 1))

    classifier, clean = linear_classifier(), images(12)
    models, alone = {"none": defended(classifier, no_defense())}, {"linear": undefended(classifier)}
    built = Victim(models, alone, clean, labels_of(classifier, clean), np.arange(12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(table.PEERS, "fake", peer(signs, batch=None))
        patch.setitem(table.PACKAGES, "fake", {"numpy": "numpy"})
        patch.setattr(compare, "load_victim", lambda *_: built)
        config = compare.Config(pairs=("fake",), images=12, query_budget=40, epsilon=0.12, batch=4, batch_images=6)
        assert "numpy" in compare.inputs(config, Folders(models=tmp_path_factory.mktemp("models")))["peers"]
        folder = tmp_path_factory.mktemp("checkpoints")
        data, facts = compare.run(config, Context(Folders(models=folder), folder, folder, lambda *_: None))
        return data, facts, compare.report(data, {"config": {"seed": 0}})


def test_comparison_record(compared):
    data, facts, found = compared
    row, cost, batch = found["rows"][0], found["costs"][0], found["batches"][0]
    assert row["ours"] == 1
    assert 0 < row["theirs"] < 1
    assert not row["ok"]  # the null attack is worse, and is found to be
    assert not found["ok"]
    assert (data.distance.where(np.isfinite(data.distance), 0) <= 0.12 + 1e-6).all()
    assert (data.queries[0, 0] == 40).all()
    assert (data.queries[0, 1] == 40).any()
    assert (data.queries[0, 1] < 40).any()
    assert cost["forwarded_theirs"] == 40  # it never stops
    assert batch["ours_identical"] == 1
    assert batch["images"] == 6
    assert facts["queries"] == 2 * 12 * 40


@pytest.mark.parametrize(("norm", "expected"), [("linf", 0.2), ("l2", 0.1 * 7**0.5)])
def test_distance_of_our_images(norm, expected):
    clean = np.zeros((2, 6, 6, 1), np.float32)
    moved = clean.copy()
    moved[0, 0, :4, 0] = 0.1, 0.1, 0.1, -0.2
    lengths = compare.distances(norm, clean, moved, np.array([True, False]))
    assert lengths == pytest.approx([expected, INF])
