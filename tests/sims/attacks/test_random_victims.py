"""Every attack completes against victims that answer at random, and its claims are held against fresh draws.

Compilation is what costs, so an attack is one program: its params choose the victim, an image's first pixel the norm.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from defenses.classifiers.classifier import Classifier
from defenses.defense import Defense
from defenses.model import defended
from sims.attacks.attack import Attack, Threat
from sims.attacks.table import ATTACKS, build_attack, read_attack
from sims.engine.run import Result, Schedule, run_attack
from sims.engine.state import EXHAUSTED, FOOLED, GAVE_UP
from sims.engine.stopping import stopping_rule
from sims.measurements.fresh_draws import times_fooled
from sims.victims.oracle import oracle_of
from tests.sims.attacks.test_attacks import EPSILON, SETTINGS
from tests.sims.small_victims import images, labels_of, linear_classifier, noise, patchwise

COUNT, BUDGET, DRAWS = 24, 100, 50
VICTIMS = {"noise": noise(0.1), "patchwise": patchwise(0.05)}
CLASSIFIER, IMAGES = linear_classifier(), images(COUNT)
LABELS = labels_of(CLASSIFIER, IMAGES)
BRIGHT = IMAGES[:, 0, 0, 0] > 0.5  # 13 images
FAST = ("nes", "rays")  # each program takes some seconds to compile
CLAIMS_LITTLE = {"sign-opt"}  # its first search along a ray takes most of the budget
SEEN = []


def watched() -> Classifier:
    """The linear classifier, which writes down how many rows it sees."""

    def logits(params, rows):
        jax.debug.callback(lambda batch: SEEN.append(len(batch)), rows)
        return CLASSIFIER.logits(params, rows)

    return CLASSIFIER._replace(logits=logits)


def one_of_the_victims() -> Defense:
    """The defence whose number its params hold."""

    def apply(params, keys, x):
        return jax.lax.select_n(params, *(defense.apply(defense.params, keys, x) for defense in VICTIMS.values()))

    return Defense("one-of", jnp.int32(0), apply, True)


def by_first_pixel(dark: Attack, bright: Attack) -> Attack:
    """One attack on images whose first pixel is dark and another on the bright ones, in one program."""

    def pick(state, of_dark, of_bright):
        return jax.tree.map(lambda a, b: jnp.where(state[0], b, a), of_dark, of_bright)

    def init(key, image, start):
        return image[0, 0, 0] > 0.5, dark.init(key, image, start), bright.init(key, image, start)

    def ask(key, state):
        return pick(state, dark.ask(key, state[1]), bright.ask(key, state[2]))

    def tell(state, queries, answers):
        return state[0], dark.tell(state[1], queries, answers), bright.tell(state[2], queries, answers)

    def report(state):
        return pick(state, dark.report(state[1]), bright.report(state[2]))

    return dark._replace(init=init, ask=ask, tell=tell, report=report)


DEFENSE = one_of_the_victims()
ORACLES = {
    "loss": oracle_of(defended(watched(), DEFENSE), "loss"),
    "label": oracle_of(defended(watched(), DEFENSE), "label"),
}


class Run(NamedTuple):
    """norms: one per image. seen: rows that the victim saw. fresh: (n,) share of fresh draws that are fooled."""

    norms: np.ndarray
    result: Result
    seen: int
    fresh: np.ndarray


@cache
def runs(name: str, stopping: str) -> list[Run]:
    """The attack on each of the victims, in all its norms."""
    norms = ATTACKS[name].norms
    text = SETTINGS.get(name) or name
    attacks = [build_attack(read_attack(text), Threat(norm, EPSILON[norm], BUDGET)) for norm in norms]
    attack = by_first_pixel(*attacks) if len(norms) == 2 else attacks[0]
    chosen = np.where(BRIGHT, norms[-1], norms[0])
    return [Run(chosen, *on_victim(attack, number, stopping)) for number in range(len(VICTIMS))]


def on_victim(attack: Attack, number: int, stopping: str) -> tuple[Result, int, np.ndarray]:
    oracle, judge = (
        ORACLES[feedback]._replace(params=(jnp.int32(number), CLASSIFIER.params))
        for feedback in (attack.feedback, "loss")
    )
    key, ids, schedule = jax.random.key(1), np.arange(COUNT), Schedule(BUDGET, 16, 8, stopping=stopping_rule(stopping))
    SEEN.clear()
    result = run_attack(key, attack, oracle, IMAGES, LABELS, ids, schedule, starts=IMAGES[::-1].copy())
    jax.effects_barrier()
    seen = sum(SEEN)
    return result, seen, times_fooled(jax.random.key(9), judge, result.images, LABELS, DRAWS, 8) / DRAWS


@pytest.fixture(params=[pytest.param(a, marks=[] if a in FAST else pytest.mark.slow) for a in ATTACKS])
def finished(request) -> tuple[str, list[Run]]:
    return request.param, runs(request.param, "first-success")


def check_box_ball_and_counts(run: Run):
    result = run.result
    assert set(result.status) <= {FOOLED, EXHAUSTED, GAVE_UP}
    assert np.isfinite(result.images).all()
    assert not np.isnan(result.trace).any()
    moved = (result.images - IMAGES).reshape(COUNT, -1)
    for norm, order in (("linf", np.inf), ("l2", 2)):
        lengths = np.linalg.norm(moved[run.norms == norm], ord=order, axis=1)
        assert (lengths <= EPSILON[norm] * (1 + 1e-5)).all()
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert result.queries.max() <= BUDGET
    assert result.queries.sum() == result.evaluated
    assert run.seen == result.evaluated + result.padded


def test_it_completes_in_the_ball_and_the_budget_and_counts_the_rows_seen(finished):
    for run in finished[1]:
        check_box_ball_and_counts(run)


def test_what_it_claims_is_not_what_fresh_draws_say(finished):
    """An image leaves with its first success, which luck brings; fresh draws fool the victim far less often."""
    name, both = finished
    for run in both:
        claimed, average = run.result.success.mean(), run.fresh.mean()
        assert claimed > 0.15 or name in CLAIMS_LITTLE
        assert claimed > 1.4 * average or claimed <= 0.15
        assert average < (run.fresh > 0).mean()  # over N draws, the worst of N


def test_a_vote_takes_claims_away_and_costs_rows():
    """Up to an image's first success both rules see the same run."""
    name = "rays"
    for voted, first in zip(runs(name, "re-evaluation"), runs(name, "first-success"), strict=True):
        check_box_ball_and_counts(voted)
        assert (voted.result.success <= first.result.success).all()
        assert voted.result.success.sum() < first.result.success.sum()
        lucky = first.result.success & (first.result.queries < BUDGET)
        assert (voted.result.queries > first.result.queries)[lucky].all()
        assert (voted.result.queries == first.result.queries)[~first.result.success].all()
