"""Every attack completes against victims that answer at random, and its claims are held against fresh draws."""

import jax
import numpy as np
import pytest

from defenses.defense import compose
from sims.attacks.attack import Threat
from sims.attacks.table import ATTACKS, build_attack
from sims.engine import Schedule, run_attack
from sims.oracle import label_oracle, loss_oracle
from sims.reevaluation import times_fooled
from sims.slots import EXHAUSTED, FOOLED, GAVE_UP
from tests.sims.test_attacks import EPSILON, SETTINGS
from tests.sims.victims_for_tests import images, labels_of, linear_classifier, noise, patchwise

COUNT, BUDGET, DRAWS = 16, 100, 50
CLASSIFIER, IMAGES = linear_classifier(), images(COUNT)
LABELS = labels_of(CLASSIFIER, IMAGES)
RANDOM = compose(noise(0.1), patchwise(0.05))
ORACLES = {"loss": loss_oracle(CLASSIFIER, RANDOM), "label": label_oracle(CLASSIFIER, RANDOM)}


@pytest.fixture(scope="module", params=list(ATTACKS))
def finished(request):
    method = ATTACKS[request.param]
    norm = method.norms[-1]
    attack = build_attack(SETTINGS.get(request.param) or request.param, Threat(norm, EPSILON[norm], BUDGET))
    schedule = Schedule(BUDGET, 16, 8, stopping="re-evaluation")
    oracle = ORACLES[attack.feedback]
    ids = np.arange(COUNT)
    result = run_attack(jax.random.key(1), attack, oracle, IMAGES, LABELS, ids, schedule, starts=IMAGES[::-1].copy())
    return request.param, norm, result


def test_it_completes_in_the_ball_and_the_budget(finished):
    _, norm, result = finished
    assert set(result.status) <= {FOOLED, EXHAUSTED, GAVE_UP}
    assert np.isfinite(result.images).all()
    moved = (result.images - IMAGES).reshape(COUNT, -1)
    assert (np.linalg.norm(moved, ord=np.inf if norm == "linf" else 2, axis=1) <= EPSILON[norm] * (1 + 1e-5)).all()
    assert result.queries.max() <= BUDGET
    assert result.queries.sum() == result.evaluated


def test_what_it_claims_is_not_what_fresh_draws_say(finished):
    """Where luck is all there is (null), the claim is far above the truth; fresh draws say so for every attack."""
    name, _, result = finished
    fresh = times_fooled(jax.random.key(9), ORACLES["loss"], result.images, LABELS, DRAWS, 8) / DRAWS
    assert fresh.shape == (COUNT,)
    if name == "null":
        assert result.success.mean() > 1.5 * fresh.mean()
        assert (fresh > 0).mean() > fresh.mean()  # the worst of N is worse than the average
