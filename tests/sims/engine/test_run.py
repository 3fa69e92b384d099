"""The engine: results that depend on nothing but the image, exact counts, resumption, non-finite answers."""

import dataclasses
import multiprocessing
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.model import defended
from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, read_attack
from sims.engine.run import Schedule, run_attack, run_plan
from sims.engine.state import EXHAUSTED, NON_FINITE, STATUS
from sims.victims.oracle import averaged, oracle_of
from tests.sims.small_victims import images, labels_of, linear_classifier, no_defense, noise

KEY, COUNT, BUDGET = jax.random.key(3), 64, 60
CLASSIFIER, IMAGES = linear_classifier(), images(COUNT)
LABELS, IDS = labels_of(CLASSIFIER, IMAGES), np.arange(COUNT)
ORACLE = oracle_of(defended(CLASSIFIER, noise(0.02)), "loss")
THREAT = Threat("linf", 0.05, BUDGET)
NES = build_attack(read_attack("nes:smoothing_radius=0.05,num_directions=3,step_fraction=0.4"), THREAT)
SQUARE = build_attack(read_attack("square:initial_fraction=0.5"), THREAT)
BOTH = pytest.mark.parametrize(  # two widths; the descent, the longer, in the slow set
    "attack", [pytest.param(NES, id="nes", marks=pytest.mark.slow), pytest.param(SQUARE, id="square")]
)


def run(attack=SQUARE, oracle=ORACLE, rows=slice(None), chunk=50, **options):
    schedule = Schedule(BUDGET, rows=options.pop("in_flight", 16), tile=8, chunk=chunk)
    return run_attack(KEY, attack, oracle, IMAGES[rows], LABELS[rows], IDS[rows], schedule, **options)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("images", "queries", "status"))


@pytest.mark.parametrize("rows", [pytest.param(slice(0, 8), marks=pytest.mark.slow), slice(20, 29)], ids=str)
@BOTH
def test_an_image_does_not_notice_its_queue_or_the_chunk(attack, rows):
    whole = run(attack)
    assert 0 < whole.success.mean() < 1
    alone = run(attack, rows=rows, chunk=5)
    assert np.array_equal(alone.images, whole.images[rows])
    assert np.array_equal(alone.queries, whole.queries[rows])
    assert np.array_equal(alone.status, whole.status[rows])


@pytest.mark.parametrize(
    ("attack", "count", "layout"),
    [
        (SQUARE, 1, (1, 1, 1)),
        (SQUARE, 5, (5, 5, 5)),
        (SQUARE, 9, (16, 8, 9)),
        (NES, 1, (6, 6, 1)),
        (NES, 2, (16, 8, 2)),
    ],
)
def test_a_small_queue_has_no_more_rows_tiles_and_slots_than_it_fills(attack, count, layout):
    plan = run_plan(attack, ORACLE, Schedule(BUDGET, rows=64, tile=8), count)
    assert (plan.rows, plan.tile, plan.slots) == layout


def test_one_image_forwards_only_its_own_rows():
    alone, whole = run(rows=slice(3, 4)), run()
    assert alone.padded == 0
    assert alone.evaluated == alone.queries.sum()
    assert np.allclose(alone.images, whole.images[3:4], atol=1e-6)


def test_rows_in_flight_do_not_matter():
    assert same(run(in_flight=16), run(in_flight=32))


def test_ids_choose_the_random_streams():
    shuffled = run_attack(KEY, SQUARE, ORACLE, IMAGES, LABELS, IDS[::-1].copy(), Schedule(BUDGET, 16, 8))
    assert not np.array_equal(shuffled.images, run().images)


class Killed(Exception):
    pass


@BOTH
def test_a_run_resumes_from_its_checkpoint(tmp_path, attack):
    chunks = []

    def stop(finished, rows):
        chunks.append(rows)
        if len(chunks) == 3:
            raise Killed

    path = tmp_path / "state.npz"
    with pytest.raises(Killed):
        run(attack, chunk=5, checkpoint=path, on_chunk=stop)
    resumed, whole = run(attack, chunk=50, checkpoint=path), run(attack)
    assert same(resumed, whole)
    assert resumed.evaluated == whole.evaluated


def _attack_slowly(path):
    run(chunk=5, checkpoint=path, on_chunk=lambda finished, rows: time.sleep(0.2))


def test_a_killed_process_loses_nothing(tmp_path):
    path = tmp_path / "state.npz"
    process = multiprocessing.get_context("spawn").Process(target=_attack_slowly, args=(path,))
    process.start()
    waited = time.monotonic()
    while not path.exists():
        assert time.monotonic() - waited < 120
        time.sleep(0.02)
    process.kill()
    process.join()
    assert same(run(chunk=5, checkpoint=path), run())


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    run(checkpoint=path)
    stronger = build_attack(read_attack("square:initial_fraction=0.5"), Threat("linf", 0.2, BUDGET))
    other = oracle_of(defended(CLASSIFIER._replace(params=2 * CLASSIFIER.params), noise(0.02)), "loss")
    for attack, oracle in ((NES, ORACLE), (stronger, ORACLE), (SQUARE, other)):
        with pytest.raises(ValueError, match="belongs to another run"):
            run(attack, oracle, checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged"):
        run(checkpoint=path)


def counting(classifier, seen):
    """The classifier, writing down every row it is really given."""

    def logits(params, rows):
        jax.debug.callback(lambda batch: seen.append(len(batch)), rows, ordered=False)
        return classifier.logits(params, rows)

    return classifier._replace(logits=logits)


@pytest.mark.parametrize("repeats", [pytest.param(1, marks=pytest.mark.slow), 3])
@BOTH
def test_queries_are_the_rows_a_counting_classifier_saw(attack, repeats):
    seen = []
    oracle = oracle_of(defended(counting(CLASSIFIER, seen), noise(0.02)), "loss")
    result = run(attack, averaged(oracle, repeats) if repeats > 1 else oracle)
    jax.effects_barrier()
    assert sum(seen) == result.evaluated + result.padded
    assert result.queries.sum() == result.evaluated
    assert result.queries.max() <= BUDGET


def test_padding_is_not_counted_as_a_query():
    result = run(rows=slice(0, 11))
    assert result.padded > 0
    assert result.queries.sum() == result.evaluated


@pytest.mark.slow
def test_no_gradient_of_the_victim_is_ever_used():
    @jax.custom_jvp
    def guarded(x):
        return x

    @guarded.defjvp
    def forbidden(primals, tangents):
        raise AssertionError("the victim was differentiated")

    classifier = CLASSIFIER._replace(logits=lambda params, x: CLASSIFIER.logits(params, guarded(x)))
    for attack in (NES, SQUARE):
        assert run(attack, oracle_of(defended(classifier, no_defense()), "loss"), rows=slice(0, 4)).evaluated > 0
    with pytest.raises(AssertionError):
        jax.grad(lambda x: classifier.logits(classifier.params, x).sum())(jnp.asarray(IMAGES[:1]))


def test_a_non_finite_answer_stops_the_image_and_is_reported():
    dark = IMAGES[:, 0, 0, 0] < 0.5

    def logits(params, x):
        scores = CLASSIFIER.logits(params, x)
        return jnp.where(x[:, 0, 0, :] < 0.45, jnp.nan, scores)

    result = run(SQUARE, oracle_of(defended(CLASSIFIER._replace(logits=logits), no_defense()), "loss"))
    stopped = result.status == STATUS.index("non-finite answer")
    assert stopped[IMAGES[:, 0, 0, 0] < 0.4].all()
    assert not stopped[IMAGES[:, 0, 0, 0] > 0.5].any()
    assert dark.any()
    assert np.isfinite(result.images).all()
    assert STATUS.index("non-finite answer") == NON_FINITE


def test_a_budget_below_one_step_costs_nothing():
    schedule = Schedule(5, 16, 8)
    result = run_attack(KEY, NES, ORACLE, IMAGES, LABELS, IDS, schedule)
    assert (result.status == EXHAUSTED).all()
    assert result.evaluated == 0


@pytest.mark.slow
def test_one_trace_serves_the_whole_run():
    traces = []

    def logits(params, x):
        traces.append(len(x))
        return CLASSIFIER.logits(params, x)

    run(SQUARE, oracle_of(defended(CLASSIFIER._replace(logits=logits), no_defense()), "loss"), chunk=5)
    assert set(traces) <= {8, 1}  # the tile, and the shape-only pass of one step
    assert len(traces) <= 3


BAD_INPUTS = {
    "outside": (lambda x, y: (x + 1, y), r"images must be in \[0, 1\]"),
    "nan": (lambda x, y: (np.where(np.arange(len(x))[:, None, None, None] == 3, np.nan, x), y), "image 3 is not"),
    "label": (lambda x, y: (x, y - 5), "labels must be >= 0"),
    "class": (lambda x, y: (x, y + 4), "labels must be < 4, the victim's classes"),
    "lengths": (lambda x, y: (x, y[1:]), "labels must have one entry per image"),
    "empty": (lambda x, y: (x[:0], y[:0]), "at least one"),
    "channels first": (lambda x, y: (np.moveaxis(x, -1, 1), y), r"must be \(n, h, w, c\).* got \(64, 1, 6, 6\)"),
    "greyscale": (lambda x, y: (x[..., 0], y), r"got \(64, 6, 6\): greyscale\?"),
    "one-hot": (lambda x, y: (x, np.eye(4)[y]), r"got \(64, 4\): one-hot\?"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_bad_input_is_named(spoil, message):
    x, y = spoil(IMAGES, LABELS)
    with pytest.raises(ValueError, match=message):
        run_attack(KEY, SQUARE, ORACLE, x, y, IDS, Schedule(BUDGET))


def test_a_white_box_attack_wants_goals():
    attack, oracle = SQUARE._replace(feedback="gradient"), ORACLE._replace(feedback="gradient")
    for goals, message in [
        (LABELS, r"must be goals \(64, 2\), the true class and a rival, got \(64,\)"),
        (np.stack([LABELS, LABELS + 4], axis=1), "labels must be < 4"),
        (np.stack([LABELS, LABELS - 4], axis=1), "labels must be >= 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            run_attack(KEY, attack, oracle, IMAGES, goals, IDS, Schedule(BUDGET))


def test_lists_are_arrays_too():
    pixels: Any = IMAGES.tolist()
    classes: Any = LABELS.tolist()
    result = run_attack(KEY, SQUARE, ORACLE, pixels, classes, IDS, Schedule(BUDGET, 16, 8))
    assert same(result, run(SQUARE))


@pytest.mark.parametrize(("setting", "value"), [("query_budget", 0), ("tile", 0), ("chunk", 0), ("rows", 63)])
def test_bad_schedules_are_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be .*{value}"):
        dataclasses.replace(Schedule(10), **{setting: value})
