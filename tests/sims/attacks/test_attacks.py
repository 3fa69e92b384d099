"""Contracts of every attack in the table, asserted on one compiled run each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sympy import parse_expr

from defenses.model import defended
from sims.attacks.attack import Threat
from sims.attacks.table import ATTACKS, build_attack, read_attack
from sims.engine.run import Schedule, run_attack
from sims.engine.state import EXHAUSTED, FOOLED
from sims.victims.oracle import Answer, oracle_of
from tests.sims.small_victims import SHAPE, images, labels_of, linear_classifier, no_defense

COUNT, BUDGET = 24, 119  # pays for the probes of a last step, but not for its check
CLASSIFIER, IMAGES = linear_classifier(), images(COUNT)
LABELS = labels_of(CLASSIFIER, IMAGES)
EPSILON = {"linf": 0.06, "l2": 0.35}
SETTINGS = {
    "nes": "nes:smoothing_radius=0.05,num_directions=7,step_fraction=0.25",
    "identify": "identify:smoothing_radius=0.05,num_directions=7,repeats=2,step_fraction=0.25",
    "spsa": "spsa:num_directions=7",
    "rgf": "rgf:smoothing_radius=0.01,num_directions=6,step_fraction=0.3",
    "zo-sgd": "zo-sgd:num_directions=6,learning_rate=0.02",
    "zo-sign-sgd": "zo-sign-sgd:num_directions=6",
    "zo-adam": "zo-adam:num_directions=6,step_fraction=0.4",
    "bandits-td": "bandits-td:grid=6",
    "square": "square:initial_fraction=0.5",
    "boundary": "boundary:spherical_step=0.1,source_step=0.1",
    "hop-skip-jump": "hop-skip-jump:initial_batch=10,probe_fraction=0.1",
}
"""Settings for a 6 × 6 image and 119 queries."""
FALLEN = {"null": 0.0, "sign-opt": 0.3}
"""Share of the images that must fall, 0.4 where nothing is said."""
CASES = [(name, norm) for name, method in ATTACKS.items() for norm in method.norms]
SAME_FRAME = {  # as nes, simba, square and rays: they run in the slow set
    "spsa", "identify", "rgf", "zo-sgd", "zo-adam", "zo-sign-sgd", "simba-dct", "sign-hunter", "sign-opt",
    "geoda",
}  # fmt: skip


class Killed(Exception):
    pass


class Witness:
    """The linear victim, which counts rows and traces, and forbids derivatives."""

    def __init__(self):
        self.seen, self.traces = [], []

    def classifier(self):
        @jax.custom_jvp
        def guarded(x):
            return x

        @guarded.defjvp
        def forbidden(primals, tangents):
            raise AssertionError("the victim was differentiated")

        def logits(params, rows):
            self.traces.append(len(rows))
            jax.debug.callback(lambda batch: self.seen.append(len(batch)), rows)
            return CLASSIFIER.logits(params, guarded(rows))

        return CLASSIFIER._replace(logits=logits)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (name, norm),
            id=f"{name}-{norm}",
            marks=[] if norm == ATTACKS[name].norms[0] and name not in SAME_FRAME else pytest.mark.slow,
        )
        for name, norm in CASES
    ],
)
def finished(request, tmp_path_factory):
    """One run of one attack, and the same run killed in its third chunk and resumed."""
    name, norm = request.param
    attack = build_attack(read_attack(SETTINGS.get(name) or name), Threat(norm, EPSILON[norm], BUDGET))
    witness = Witness()
    oracle = oracle_of(defended(witness.classifier(), no_defense()), attack.feedback)
    path, chunks = tmp_path_factory.mktemp(name) / "state.npz", []

    def kill(finished, rows):
        chunks.append(rows)
        if len(chunks) == 3:
            raise Killed

    def run(**options):
        ids, schedule = np.arange(COUNT), Schedule(BUDGET, 16, 8, chunk=12)
        return run_attack(jax.random.key(0), attack, oracle, IMAGES, LABELS, ids, schedule, **options)

    whole = run()
    jax.effects_barrier()
    seen = sum(witness.seen)
    with pytest.raises(Killed):
        run(checkpoint=path, on_chunk=kill)
    return name, norm, attack, whole, run(checkpoint=path), seen, witness.traces


def test_box_ball_and_budget(finished):
    _, norm, _, result, *_ = finished
    distance = (result.images - IMAGES).reshape(COUNT, -1)
    length = np.abs(distance).max(axis=1) if norm == "linf" else np.linalg.norm(distance, axis=1)
    assert (length <= EPSILON[norm] * (1 + 1e-5)).all()
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert 0 < result.queries.max() <= BUDGET


def test_success_is_true_exactly_when_the_image_fools(finished):
    name, _, _, result, *_ = finished
    assert np.array_equal(labels_of(CLASSIFIER, result.images) != LABELS, result.success)
    assert set(result.status) <= {FOOLED, EXHAUSTED}
    assert result.success.mean() >= FALLEN.get(name, 0.4)
    assert result.success.mean() < 1


@pytest.mark.parametrize(
    "text",
    [
        *(
            pytest.param(SETTINGS.get(name) or name, marks=[pytest.mark.slow] * (name in SAME_FRAME))
            for name in ATTACKS
        ),
        "square:reevaluate=true",
    ],
)
def test_a_step_costs_what_the_table_says(text):
    """Rows asked for in the last whole step of four asks; descents ask twice a step, for probes and for the check."""
    choice = read_attack(text)
    method = ATTACKS[choice.name]
    attack = build_attack(read_attack(text), Threat(method.norms[0], 0.1, 1000))
    state, rows = attack.init(jax.random.key(0), IMAGES[0], IMAGES[1]), []
    for i in range(4):
        queries = attack.ask(jax.random.key(i), state)
        rows.append(int(queries.needed.sum()))
        value = jnp.zeros(attack.width, jnp.float32 if attack.feedback == "loss" else jnp.int32)
        state = attack.tell(state, queries, Answer(value, jnp.zeros(attack.width, bool)))
    counts = {name: int(value) for name, value in vars(choice.settings).items() if isinstance(value, int)}
    assert sum(rows[-2:] if hasattr(state, "probing") else rows[-1:]) == parse_expr(method.queries_per_step, counts)


def test_queries_are_the_rows_the_victim_saw(finished):
    *_, result, _, seen, _ = finished
    assert seen == result.evaluated + result.padded
    assert result.queries.sum() == result.evaluated


def test_a_resumed_run_equals_an_uninterrupted_one(finished):
    _, _, _, whole, resumed, *_ = finished
    for field in ("images", "queries", "status", "trace"):
        np.testing.assert_array_equal(getattr(resumed, field), getattr(whole, field))
    assert resumed.evaluated == whole.evaluated


def test_one_trace_serves_all_runs(finished):
    *_, traces = finished
    assert set(traces) <= {8, 1, finished[2].width}  # the tile, and the shape-only pass of one step
    assert len(traces) <= 3


def test_the_trace_is_known_and_ends_with_the_budget(finished):
    result = finished[3]
    assert result.trace_at[-1] == BUDGET
    assert np.isfinite(result.trace[:, -1]).any()
    assert not np.isnan(result.trace).any()


def test_state_keeps_its_types(finished):
    attack = finished[2]
    key, image = jax.random.key(0), jnp.asarray(IMAGES[0])
    before = jax.eval_shape(attack.init, key, image, image)
    queries = jax.eval_shape(attack.ask, key, before)
    assert queries.images.shape == (attack.width, *SHAPE)
    assert queries.needed.shape == (attack.width,)
    oracle = oracle_of(defended(CLASSIFIER, no_defense()), attack.feedback)
    keys = jax.random.split(key, attack.width)
    answer = jax.eval_shape(oracle.query, oracle.params, keys, queries.images, jnp.zeros(attack.width, jnp.int32))
    after = jax.eval_shape(attack.tell, before, queries, answer)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), before) == jax.tree.map(lambda a: (a.shape, a.dtype), after)
    report = jax.eval_shape(attack.report, before)
    assert [part.shape for part in report] == [SHAPE, (), ()]


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_it_is_what_its_row_says(name, norm):
    method = ATTACKS[name]
    assert build_attack(read_attack(name), Threat(norm)).feedback == method.feedback
    assert method.source


def test_a_norm_that_an_attack_does_not_have_is_named():
    for name, method in ATTACKS.items():
        for threat in (Threat("linf"), Threat("l2")):
            if threat.norm not in method.norms:
                with pytest.raises(ValueError, match=f"norm must be .* for {name}"):
                    build_attack(read_attack(name), threat)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "l1"}, "norm must be linf or l2, got 'l1'"),
        ({"epsilon": -0.1}, "epsilon must be > 0, got -0.1"),
        ({"query_budget": 0}, "query_budget must be >= 1, got 0"),
    ],
)
def test_bad_threats_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Threat(**change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neS", "attack must be one of nes, .*, got 'neS'"),
        ("nes:smoothing_radius=-0.1", r"smoothing_radius must be > 0 and finite, got -0\.1"),
        ("nes:step_fraction=0", r"step_fraction must be in \(0, 1\], got 0"),
        ("nes:mu=1", "a setting of nes must be one of smoothing_radius, num_directions, step_fraction, average, got"),
        ("nes:num_directions=1.5", "nes:num_directions must be an integer, got '1.5'"),
        ("nes:step_fraction=x", "nes:step_fraction must be a number, got 'x'"),
        ("square:reevaluate=1", "square:reevaluate must be true or false, got '1'"),
        ("null:x=1", "a setting of null must be one of average, got 'x'"),
        ("null:average=0", "null:average must be >= 1, got 0"),
        ("square:initial_fraction=1.5", r"initial_fraction must be in \(0, 1\], got 1.5"),
    ],
)
def test_bad_attacks_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        build_attack(read_attack(text), Threat())


def test_settings_are_read_and_spelled():
    assert read_attack("nes:num_directions=3,smoothing_radius=0.5").settings.num_directions == 3
    assert read_attack("square:reevaluate=true").settings.reevaluate
    for text in ("null", "nes:smoothing_radius=0.5,num_directions=3", "square:reevaluate=true,average=4"):
        assert str(read_attack(text)) == text
