"""Victims that the host asks: the jitted path's results, no padding, and every query counted once."""

import itertools

import jax
import numpy as np
import pytest

from defenses.model import defended
from sims.engine import host_loop
from sims.engine.run import Schedule, run_attack
from sims.engine.state import EXHAUSTED, NON_FINITE
from sims.engine.stopping import FIRST_SUCCESS, stopping_rule
from sims.measurements.fresh_draws import times_fooled
from sims.victims.host import HostOracle, interface, plain_victim, read_replies
from sims.victims.oracle import averaged, oracle_of
from tests.sims.engine.walk import CLASSES, scores, under_jit, walk
from tests.sims.small_victims import images, no_defense

KEY, COUNT, BUDGET, ROWS = jax.random.key(3), 40, 21, 16
IMAGES, IDS = images(COUNT), np.arange(COUNT)
LABELS = scores(IMAGES).argmax(axis=1)
WALK, WIDE, LABEL = walk(), walk("scores", width=3), walk("label")


class Killed(Exception):
    pass


class Witness:
    """A victim that writes down the rows and requests it saw, and dies before it looks at call `dies_at`."""

    def __init__(self, function=scores, dies_at=None):
        self.function, self.dies_at, self.rows, self.requests = function, dies_at, [], []

    def __call__(self, rows, request):
        if len(self.rows) == self.dies_at:
            raise Killed
        self.rows.append(len(rows))
        self.requests.append(request)
        return self.function(rows)


def run(victim, attack=WALK, chunk=7, checkpoint=None, name="numpy", labels=LABELS):
    """The walk for a loss; wide, for the averaged scores of a target; or for labels, with one re-evaluation."""
    wide, stopping = attack is WIDE, stopping_rule("re-evaluation") if attack is LABEL else FIRST_SUCCESS
    labels = (labels + 1) % CLASSES if wide else labels
    oracle = HostOracle(name, attack.feedback, victim, CLASSES, targeted=wide, repeats=1 + wide)
    return run_attack(KEY, attack, oracle, IMAGES, labels, IDS, Schedule(BUDGET, ROWS, 8, chunk, stopping), checkpoint)


def same(one, other):
    fields = ("images", "queries", "status", "trace", "evaluated")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


def classes(rows):
    return scores(rows).argmax(axis=1)


CASES = {
    "loss": (WALK, oracle_of(defended(under_jit(), no_defense()), "loss")),
    "averaged-scores-of-a-target": (
        WIDE,
        averaged(oracle_of(defended(under_jit(), no_defense()), "scores", targeted=True), 2),
    ),
    "label": (LABEL, oracle_of(defended(under_jit(), no_defense()), "label")),
}


@pytest.mark.parametrize(
    ("attack", "oracle"),
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name == "loss")) for name, case in CASES.items()],
)
def test_results_are_those_of_the_jitted_path(attack, oracle):
    schedule = Schedule(BUDGET, ROWS, 8, 7, stopping_rule("re-evaluation") if attack is LABEL else FIRST_SUCCESS)
    labels = (LABELS + 1) % CLASSES if attack is WIDE else LABELS
    jitted = run_attack(KEY, attack, oracle, IMAGES, labels, IDS, schedule)
    witness = Witness(classes if attack is LABEL else scores)
    result = run(witness, attack)
    assert 0.2 < jitted.success.mean() < 0.98
    assert same(result, jitted)
    assert result.padded == 0 < jitted.padded
    assert sum(witness.rows) == result.evaluated == result.queries.sum()
    assert max(witness.rows) == ROWS
    assert min(witness.rows) > 0


def test_scores_are_a_label_victim_too():
    assert same(run(plain_victim(scores), LABEL), run(plain_victim(classes), LABEL))
    assert same(run(lambda rows, request: scores(rows).tolist(), LABEL), run(plain_victim(classes), LABEL))


@pytest.mark.parametrize("attack", [WALK, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("chunk", [3, 1000])
def test_a_victim_that_dies_is_asked_nothing_twice(tmp_path, attack, chunk):
    path, whole, rows, requests = tmp_path / "state.npz", Witness(), [], []
    expected = run(whole, attack)
    for calls in (1, 4, 3, 6, None):  # in the first chunk, at its end, and after
        witness = Witness(dies_at=calls)
        if calls is not None:
            with pytest.raises(Killed):
                run(witness, attack, chunk=chunk, checkpoint=path)
        else:
            assert same(run(witness, attack, chunk=chunk, checkpoint=path), expected)
        rows += witness.rows
        requests += witness.requests
    assert rows == whole.rows
    assert requests == whole.requests
    assert sum(rows) == expected.queries.sum()
    assert same(run(Witness(dies_at=0), attack, chunk=chunk, checkpoint=path), expected)  # a finished run asks nothing


def test_a_shorter_chunk_never_drops_replies_that_are_yet_to_be_replayed(tmp_path, monkeypatch):
    path, whole = tmp_path / "state.npz", Witness()
    expected = run(whole)
    with pytest.raises(Killed):
        run(Witness(dies_at=9), chunk=1000, checkpoint=path)
    turns, compiled = itertools.count(), host_loop.compiled_turn

    def killed_in_the_replay(*arguments):
        if next(turns) == 5:
            raise Killed
        return compiled(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(host_loop, "compiled_turn", killed_in_the_replay)
        with pytest.raises(Killed):
            run(Witness(dies_at=0), chunk=2, checkpoint=path)
    witness = Witness()
    assert same(run(witness, chunk=2, checkpoint=path), expected)
    assert witness.requests == whole.requests[9:]


@pytest.mark.parametrize(("moment", "written"), [("append_reply", True), ("save_state", True), ("save_state", False)])
def test_killed_at_a_write(tmp_path, monkeypatch, moment, written):
    path, whole, first, second = tmp_path / "state.npz", Witness(), Witness(), Witness()
    expected = run(whole)
    write, calls = getattr(host_loop, moment), itertools.count()

    def die_at_the_second(*arguments):
        second = next(calls) == 1
        if written or not second:
            write(*arguments)
        if second:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(host_loop, moment, die_at_the_second)
        with pytest.raises(Killed):
            run(first, chunk=4, checkpoint=path)
    assert same(run(second, chunk=4, checkpoint=path), expected)
    assert first.requests + second.requests == whole.requests


def test_requests_are_named_by_run_and_progress_alone():
    witnesses = [Witness() for _ in range(4)]
    run(witnesses[0], chunk=1000)
    run(witnesses[1], chunk=2)
    run(witnesses[2], name="another")
    run(witnesses[3], labels=(LABELS + 1) % CLASSES)
    first, again, *others = [witness.requests for witness in witnesses]
    assert first == again
    assert len(set(first)) == len(first) > 10
    assert not set(first) & {request for requests in others for request in requests}


def test_a_torn_record_is_asked_again(tmp_path):
    path, whole = tmp_path / "state.npz", Witness()
    expected = run(whole)
    journal = tmp_path / "state.npz.journal"
    for lost in (1, 100):  # the end of a record; with its beginning
        path.unlink(missing_ok=True)
        with pytest.raises(Killed):
            run(Witness(dies_at=4), chunk=1000, checkpoint=path)
        journal.write_bytes(journal.read_bytes()[:-lost])
        witness = Witness()
        assert same(run(witness, chunk=1000, checkpoint=path), expected)
        assert witness.requests == whole.requests[3:]
        assert not journal.exists()


def test_a_journal_of_another_run_is_refused(tmp_path):
    with pytest.raises(Killed):
        run(Witness(dies_at=2), checkpoint=tmp_path / "state.npz")
    with pytest.raises(ValueError, match="belongs to another run"):
        run(Witness(), name="another", checkpoint=tmp_path / "state.npz")


def test_the_name_of_a_run_is_in_its_requests():
    witnesses = [Witness() for _ in range(2)]
    for witness, name in zip(witnesses, ("", "another"), strict=True):
        oracle = HostOracle("numpy", LABEL.feedback, witness, CLASSES, run=name)
        run_attack(KEY, LABEL, oracle, IMAGES, LABELS, IDS, Schedule(BUDGET, ROWS, 8))
        times_fooled(KEY, oracle, IMAGES, LABELS, 2, ROWS)
        assert len(set(witness.requests)) == len(witness.requests)
    assert not set(witnesses[0].requests) & set(witnesses[1].requests)


class FollowsGradients:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


WRONG = {
    "shape": ("loss", np.zeros((5, 3)), r"mine must return float scores \(5, 4\), got float64 \(5, 3\)"),
    "rows": ("scores", np.zeros((4, 4)), r"got float64 \(4, 4\)"),
    "dtype": ("loss", np.zeros((5, 4), int), r"float scores \(5, 4\), got int64"),
    "complex": ("loss", np.zeros((5, 4), complex), "got complex128"),
    "nothing": ("loss", None, "got object"),
    "ragged": ("loss", [[1.0], [1.0, 2.0]], "got no array"),
    "labels-for-loss": ("loss", np.zeros(5, int), r"float scores \(5, 4\), got int64 \(5,\)"),
    "float-labels": ("label", np.zeros(5), r"or integer labels \(5,\), got float64 \(5,\)"),
    "a tensor": ("loss", FollowsGradients(), r"float scores \(5, 4\), got no array: .* requires grad"),
    "bool-labels": ("label", np.zeros(5, bool), "got bool"),
    "label-above": ("label", np.array([0, 1, 4, 5, 0]), r"mine must return labels in \[0, 4\), got 4"),
    "label-below": ("label", np.array([0, -1, 1, 1, 1]), r"labels in \[0, 4\), got -1"),
}


@pytest.mark.parametrize(("feedback", "returned", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_reply_is_named(feedback, returned, message):
    with pytest.raises(ValueError, match=message):
        read_replies(HostOracle("mine", feedback, plain_victim(scores), 4), returned, 5)


def test_a_wrong_reply_ends_the_run_and_is_not_kept(tmp_path):
    path, whole, witness = tmp_path / "state.npz", Witness(), Witness()
    expected = run(whole)
    with pytest.raises(ValueError, match=r"must return float scores \(16, 4\), got float32 \(16, 3\)"):
        run(lambda rows, request: scores(rows)[:, :3], checkpoint=path)
    assert same(run(witness, checkpoint=path), expected)
    assert witness.requests == whole.requests


@pytest.mark.parametrize("bad", [np.nan, 1e60])
@pytest.mark.parametrize("attack", [WALK, LABEL], ids=["loss", "label"])
def test_a_non_finite_reply_stops_its_image_alone(attack, bad):
    dark = IMAGES[:, 0, 0, 0] < 0.3

    def spoilt(rows):
        return np.where(rows[:, 0, 0, :] < 0.3 - 0.12, bad, scores(rows).astype(np.float64))

    result, clean = run(plain_victim(spoilt), attack), run(plain_victim(scores), attack)
    stopped = result.status == NON_FINITE
    assert stopped[dark].any()
    assert not stopped[~dark].any()
    assert np.array_equal(result.queries[~dark], clean.queries[~dark])


def test_a_lucky_answer_is_put_to_the_vote():
    seen = set()

    def right_the_second_time(rows):
        new = np.array([row.tobytes() not in seen for row in rows])
        seen.update(row.tobytes() for row in rows)
        return new.astype(int)

    result = run(plain_victim(right_the_second_time), LABEL, labels=0 * LABELS)
    assert (result.status == EXHAUSTED).all()
    assert (result.queries == BUDGET).all()
    witness = Witness(lambda rows: np.full(len(rows), 3))
    wrong = run(witness, LABEL, labels=0 * LABELS)
    assert wrong.success.all()
    assert (wrong.queries == 2).all()
    assert len(set(witness.requests)) == len(witness.requests) == 6  # the same rows again are another request


def test_an_average_is_of_fresh_replies():
    oracle = HostOracle("random", "scores", plain_victim(scores), CLASSES, repeats=3)
    replies = np.random.default_rng(0).normal(size=(6, CLASSES)).astype(np.float32)
    keys, labels = jax.random.split(KEY, 2), np.array([0, 1])
    answer = jax.jit(interface(oracle, 2).query)(replies, keys, IMAGES[:2], labels)
    mean = replies.reshape(2, 3, CLASSES).mean(axis=1)
    np.testing.assert_allclose(answer.value, mean, rtol=1e-5)
    assert np.array_equal(answer.fooled, mean.argmax(axis=1) != labels)


def test_a_victim_that_answers_with_probabilities_is_told_of_once(capsys):
    """Where its scores are looked at: not to a decision attack, which sees their order alone."""

    def probabilities(rows):
        return np.exp(scores(rows)) / np.exp(scores(rows)).sum(axis=1, keepdims=True)

    def nearly(rows):
        return probabilities(rows) * 0.9

    run(plain_victim(probabilities), LABEL, name="their order")
    run(plain_victim(nearly), name="another sum")
    run(plain_victim(scores), name="logits")
    assert capsys.readouterr().err == ""
    for attack in (WALK, WALK, WIDE):
        run(plain_victim(probabilities), attack, name="softmax")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("softmax seems to return probabilities")
    assert line.endswith("return logits")


def test_one_compilation_serves_other_victims_and_resumed_runs(tmp_path, monkeypatch):
    run(Witness())

    def traced(*arguments):
        raise AssertionError("compiled again")

    monkeypatch.setattr(host_loop, "refill", traced)
    with pytest.raises(Killed):
        run(Witness(dies_at=5), chunk=3, checkpoint=tmp_path / "state.npz")
    run(Witness(), chunk=3, checkpoint=tmp_path / "state.npz")


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("feedback", "gradient"), ("num_classes", 1), ("repeats", 0)]
)
def test_bad_oracles_are_named(field, value):
    fields = {"name": "mine", "feedback": "loss", "victim": scores, "num_classes": 4} | {field: value}
    with pytest.raises(ValueError, match=rf"{field} must .*{value}"):
        HostOracle(**fields)


def test_labels_outside_the_victims_classes_are_named():
    with pytest.raises(ValueError, match="labels must be < 4"):
        run(Witness(), labels=LABELS + 4)
