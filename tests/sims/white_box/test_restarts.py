"""Every white-box attack through the engine: what it promises, what it reaches, and that only it sees a gradient."""

import ast
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.model import defended, undefended
from sims.attacks.attack import Threat
from sims.attacks.ball import lengths
from sims.engine.run import Schedule, run_attack
from sims.engine.state import GAVE_UP
from sims.engine.stopping import FIRST_SUCCESS, WHOLE_BUDGET
from sims.measurements.fresh_draws import outvoted, times_predicted, times_right
from sims.victims.oracle import Answer, oracle_of
from sims.victims.victim import Victim
from sims.white_box.gradients import Slope, gradient_oracle
from sims.white_box.incumbent import newest
from sims.white_box.restarts import AttackPlan, _descent, runs_of, with_restarts
from sims.white_box.table import WHITE_BOX, build_white_box, members, read_white_box
from tests.paths import ROOT
from tests.sims.small_victims import SHAPE, images, labels_of, linear_classifier, no_defense, noise

VICTIM, IMAGES = linear_classifier(), images(12)
LABELS = labels_of(VICTIM, IMAGES)
KEY, IDS = jax.random.key(0), np.arange(12)
EPSILON = {"linf": 0.03, "l2": 0.15}  # about half of the images fall
SHORT = {"pgd": "pgd:steps=8", "apgd-dlr-targeted": "apgd-dlr-targeted:steps=20,rivals=2"}
TEXTS = [SHORT.get(name, f"{name}:steps=20" if name != "fgsm" else name) for name in WHITE_BOX]
PGD, APGD = TEXTS[1:3]


def behind(defense):
    """All images, and the network behind that defence."""
    model = defended(VICTIM, defense)
    return Victim({defense.name: model}, {"linear": undefended(VICTIM)}, IMAGES, LABELS, IDS), model


def attacked(text, plan, defense):
    """What all runs of that attack make of the network behind that defence."""
    return with_restarts(KEY, read_white_box(text), plan, *behind(defense))


def one_run(text, norm, defense=None, count=12, persists=False, **schedule):
    choice = read_white_box(text)
    attack = build_white_box(choice, Threat(norm, EPSILON[norm]))
    oracle = gradient_oracle(defended(VICTIM, defense or no_defense()), choice.row.loss, "through", choice.shared.eot)
    budget = choice.row.evaluations(choice.settings) * choice.shared.eot
    goals = np.stack([LABELS[:count], (LABELS[:count] + 1) % 4], axis=1)
    layout = Schedule(budget, 4, 2, 5, WHOLE_BUDGET if persists else FIRST_SUCCESS)
    rest = {name: schedule[name] for name in ("checkpoint", "settled", "on_chunk") if name in schedule}
    return run_attack(KEY, attack, oracle, IMAGES[:count], goals, IDS[:count], layout, **rest), budget


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(  # one loss of APGD in the fast set, the targeted one
    "text",
    [pytest.param(text, marks=[pytest.mark.slow] * text.startswith(("apgd-ce:", "apgd-dlr:"))) for text in TEXTS],
)
def test_box_ball_budget_and_success(text, norm):
    result, budget = one_run(text, norm)
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert lengths(norm, result.images.astype(np.float64) - IMAGES).max() <= EPSILON[norm] * (1 + 1e-5)
    assert (result.success == (labels_of(VICTIM, result.images) != LABELS)).all()
    assert 0 < result.success.sum() < 12
    assert (result.queries[~result.success] == budget).all()
    assert (result.queries[result.success] <= budget).all()
    assert result.queries.sum() == result.evaluated


@pytest.mark.parametrize("text", [pytest.param(PGD, marks=pytest.mark.slow), APGD])
def test_an_image_does_not_notice_its_queue(text):
    few, _ = one_run(text, "linf", count=3)
    many, _ = one_run(text, "linf")
    assert np.array_equal(few.images, many.images[:3])
    assert np.array_equal(few.queries, many.queries[:3])


class Stopped(Exception):
    pass


@pytest.mark.slow
def test_an_interrupted_run_ends_the_same(tmp_path):
    chunks = []

    def stop_after_two(finished, rows):
        chunks.append(rows)
        if len(chunks) == 2:
            raise Stopped

    arguments, saved = ("apgd-ce:steps=20,eot=2", "l2", noise(0.1)), tmp_path / "run.npz"
    with pytest.raises(Stopped):
        one_run(*arguments, persists=True, checkpoint=saved, on_chunk=stop_after_two)
    resumed, _ = one_run(*arguments, persists=True, checkpoint=saved)
    whole, _ = one_run(*arguments, persists=True)
    assert chunks[-1] < whole.evaluated
    assert np.array_equal(whole.images, resumed.images)
    assert np.array_equal(whole.queries, resumed.queries)


def test_an_interrupted_pursuit_ends_the_same(tmp_path):
    """Stopped in its second run, when some images are settled already."""
    text, threat, told = "pgd:steps=6,step_fraction=0.2,restarts=3", Threat("linf", EPSILON["linf"]), []

    def stop_in_the_second_run(done, total):
        told.append(done)
        if done > total / 3:
            raise Stopped

    plan = AttackPlan(threat, rows=4, tile=2, checkpoints=tmp_path)
    with pytest.raises(Stopped):
        attacked(text, replace(plan, advance=stop_in_the_second_run), no_defense())
    resumed = attacked(text, plan, no_defense())
    whole = attacked(text, replace(plan, checkpoints=None), no_defense())
    assert np.array_equal(whole.images, resumed.images)
    assert np.array_equal(whole.queries, resumed.queries)


def test_gradients_that_are_not_finite_are_reported():
    def apply(params, keys, images):
        return images + 0 * jnp.sqrt(jnp.abs(images - images))  # its derivative is 0 · ∞

    broken = no_defense()._replace(name="broken", apply=apply)
    plan = AttackPlan(Threat("linf", 0.1), rows=4, tile=2)
    assert attacked("pgd:steps=8", plan, broken).non_finite.all()
    assert not attacked("pgd:steps=8", plan, no_defense()).non_finite.any()


def test_no_defense_ends_more_robust_than_it_began():
    """One that errs on the clean images and nowhere else: the attack, which leaves them, must not do it a favour."""

    def apply(params, keys, images):
        moved = (images[:, None] != IMAGES).any(axis=(2, 3, 4)).all(axis=1)
        return jnp.where(moved[:, None, None, None], images, 1 - images)

    odd = no_defense()._replace(name="odd", apply=apply)
    wrong = labels_of(VICTIM, 1 - IMAGES) != LABELS
    assert wrong.any()
    outcomes = attacked("pgd:steps=3", AttackPlan(Threat("linf", 1e-3), rows=4, tile=2), odd)
    votes = times_predicted(KEY, oracle_of(defended(VICTIM, odd), "label"), outcomes.images, 1, 2)
    assert (times_right(LABELS, votes) == ~wrong).all()


def test_one_step_of_fgsm_is_the_sign_of_the_gradient():
    result, _ = one_run("fgsm", "linf", persists=True)
    scores = VICTIM.logits(VICTIM.params, jnp.asarray(IMAGES))
    weights = np.asarray(VICTIM.params)
    chance = np.asarray(jax.nn.softmax(scores))
    slopes = (np.eye(4)[LABELS] - chance) * (1 - np.asarray(scores) ** 2)  # of the log-likelihood, through the tanh
    expected = IMAGES - EPSILON["linf"] * np.sign(slopes @ weights.T).reshape(IMAGES.shape)
    np.testing.assert_allclose(result.images, np.clip(expected, 0, 1), atol=1e-6)


def test_pgd_with_momentum_is_its_recursion():
    """MI-FGSM, written down once more, from the start that the attack drew."""
    threat, clean = Threat("linf", 0.1), jnp.asarray(IMAGES[0])
    choice = read_white_box("pgd:steps=6,step_fraction=0.3,momentum=0.9")
    attack = build_white_box(choice, threat)
    oracle = gradient_oracle(defended(VICTIM, no_defense()), choice.row.loss, "through")
    goals = jnp.asarray([[LABELS[0], 0]], jnp.int32)
    state, velocity, x = attack.init(KEY, clean, clean), 0.0, None
    for step in range(6):
        queries = attack.ask(jax.random.fold_in(KEY, step), state)
        x = np.asarray(queries.images[0]) if x is None else x
        np.testing.assert_allclose(queries.images[0], x, atol=1e-6)
        answers = oracle.query(oracle.params, jax.random.split(KEY, 1), queries.images, goals)
        gradient = np.asarray(answers.value.gradient[0])
        velocity = 0.9 * velocity + gradient / np.abs(gradient).sum()
        x = np.clip(np.clip(x - 0.03 * np.sign(velocity), clean - 0.1, clean + 0.1), 0, 1)
        state = attack.tell(state, queries, answers)


def test_a_settled_image_costs_nothing_and_stays():
    settled = np.arange(12) % 2 == 0
    result, _ = one_run("pgd:steps=8", "linf", settled=settled)
    assert (result.queries[settled] == 0).all()
    assert np.array_equal(result.images[settled], IMAGES[settled])
    assert (result.status[settled] == GAVE_UP).all()
    assert (result.queries[~settled] > 0).all()


@pytest.mark.slow
def test_more_restarts_and_rivals_never_lose():
    threat = AttackPlan(Threat("linf", 0.02, 50), rows=12, tile=6)

    def fallen(text):
        outcomes = attacked(text, threat, no_defense())
        return labels_of(VICTIM, outcomes.images) != LABELS, outcomes

    once, first = fallen("pgd:steps=3,step_fraction=0.5")
    often, more = fallen("pgd:steps=3,step_fraction=0.5,restarts=3")
    assert (often >= once).all()
    assert 0 < once.sum() < 12
    assert (more.queries[once] == first.queries[once]).all()  # what has fallen is left alone
    assert np.array_equal(more.images[once], first.images[once])  # and stays where it fell
    assert (more.queries[~often] == 3 * 4).all()
    ensemble, _ = fallen("ensemble")
    for member in members(read_white_box("ensemble")):
        assert (ensemble >= fallen(str(member))[0]).all()


@pytest.mark.slow
def test_a_random_defense_is_attacked_to_the_end_and_judged_again():
    defense, draws = noise(0.15), 40
    plan = AttackPlan(Threat("linf", 0.04, 100), selections=20, rows=12, tile=6)
    judge = oracle_of(defended(VICTIM, defense), "label")
    fooled = {}
    for text in ("pgd:steps=8", "pgd:steps=8,eot=16", "pgd:steps=8,route=blind", "null"):
        outcomes = attacked(text, plan, defense)
        votes = times_predicted(jax.random.key(5), judge, outcomes.images, draws, 4)
        assert (votes.sum(axis=1) == draws).all()
        fooled[text] = 1 - times_right(LABELS, votes).mean() / draws
        if text != "null":
            assert (outcomes.queries == 9 * (16 if "eot" in text else 1)).all()
    assert fooled["pgd:steps=8,eot=16"] > fooled["null"] + 0.2
    assert fooled["pgd:steps=8,eot=16"] >= fooled["pgd:steps=8"] - 0.05


def answered(attack, losses):
    """Where the attack stands after queries with these losses, and the images it asked."""
    clean, asked = jnp.asarray(IMAGES[0]), []
    state = attack.init(KEY, clean, clean)
    for step, loss in enumerate(losses):
        queries = attack.ask(jax.random.fold_in(KEY, step), state)
        asked.append(np.asarray(queries.images[0]))
        slope = Slope(jnp.array([loss]), jax.random.normal(jax.random.fold_in(KEY, 100 + step), (1, *SHAPE)))
        state = attack.tell(state, queries, Answer(slope, jnp.array([False])))
    return attack.report(state), asked


@pytest.mark.parametrize("text", ["pgd:steps=3", "apgd-ce:steps=3"])
def test_the_best_iterate_stands_or_the_newest(text):
    attack = build_white_box(read_white_box(text), Threat("linf", 0.1))
    best, asked = answered(attack, [3.0, 1.0, 2.0])
    last, again = answered(newest(attack), [3.0, 1.0, 2.0])
    assert np.array_equal(asked, again)
    assert np.array_equal(best.image, asked[1])
    assert np.array_equal(last.image, asked[2])
    assert (best.value, last.value) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("defense", "route", "noisy"),
    [(no_defense(), "through", False), (noise(0.1), "through", True), (noise(0.1), "around", True),
     (noise(0.1), "blind", False)],
)  # fmt: skip
def test_the_newest_stands_where_losses_are_noisy_alone(monkeypatch, defense, route, noisy):
    monkeypatch.setattr("sims.white_box.restarts.newest", lambda attack: attack._replace(name="newest"))
    choice = read_white_box(f"pgd:route={route}")
    attack = _descent(KEY, AttackPlan(Threat("linf", 0.1)), *behind(defense), choice).attack
    assert (attack.name == "newest") == noisy


def test_votes_are_lost_to_another_class_and_to_ties():
    votes = np.array([[5, 3, 2], [4, 4, 2], [0, 0, 10], [0, 0, 0]])
    assert outvoted(np.zeros(4, int), votes).tolist() == [False, True, True, True]
    assert times_right(np.zeros(4, int), votes).tolist() == [5, 4, 0, 0]


def test_the_text_of_an_attack_is_read():
    choice = read_white_box("pgd:steps=50,route=around,eot=10,restarts=2")
    assert (choice.settings.steps, choice.shared.route, choice.shared.eot) == (50, "around", 10)
    assert tuple(map(str, members(read_white_box("ensemble:route=around,eot=3")))) == (
        "apgd-ce:route=around,eot=3",
        "apgd-dlr-targeted:route=around,eot=3",
        "square",
    )
    assert len(runs_of(read_white_box("apgd-dlr-targeted:restarts=2"), 10)) == 18
    assert [run.rival for run in runs_of(read_white_box("apgd-dlr-targeted"), 4)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gpd", "attack must be one of fgsm"),
        ("pgd:steps=0", "steps must be >= 1, got 0"),
        ("pgd:step_fraction=2.0", r"step_fraction must be in \(0, 1\], got 2.0"),
        ("pgd:momentum=1.5", r"momentum must be in \[0, 1\], got 1.5"),
        ("pgd:route=over", "route must be one of through, around, blind, got 'over'"),
        ("pgd:eot=0", "eot must be >= 1, got 0"),
        ("apgd-dlr-targeted:rivals=0", "rivals must be >= 1, got 0"),
        ("fgsm:steps=3", "a setting of fgsm must be one of route, eot, select, restarts"),
    ],
)
def test_bad_texts_are_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        build_white_box(read_white_box(text), Threat())


def test_a_victim_without_a_gradient_is_no_victim():
    """What proves that query attacks use none stops these."""

    @jax.custom_jvp
    def locked(x):
        return x

    @locked.defjvp
    def refuse(primals, tangents):
        raise RuntimeError("a gradient was asked for")

    guarded = VICTIM._replace(logits=lambda weights, rows: VICTIM.logits(weights, locked(rows)))
    for route in ("through", "around", "blind"):
        oracle = gradient_oracle(defended(guarded, no_defense()), read_white_box("pgd").row.loss, route)
        with pytest.raises(RuntimeError, match="a gradient was asked for"):
            oracle.query(oracle.params, jax.random.split(KEY, 2), jnp.asarray(IMAGES[:2]), jnp.zeros((2, 2), int))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_query_attacks_and_the_engine_know_no_white_box():
    """Only its folder, the experiments, its peers and its listing import it; and it alone answers with gradients."""

    def known_to(path: Path) -> set[str]:
        return {module for module in imports(path) if (module + ".").startswith("sims.white_box.")}

    rest = [
        path for path in (ROOT / "sims").rglob("*.py") if path.parent.name not in ("white_box", "experiments", "cells")
    ]
    users = {path.relative_to(ROOT / "sims").as_posix() for path in rest if known_to(path)}
    assert users == {"command_line.py", "peers/gradient_attacks.py", "peers/white_box_comparison.py"}
    assert known_to(ROOT / "sims/command_line.py") == {"sims.white_box.listing.list_white_box"}
    assert known_to(ROOT / "sims/white_box/restarts.py")
    assert all(method.build(Threat(), method.settings()).feedback == "gradient" for method in WHITE_BOX.values())
