"""What a saved `attack` record claims of the images of one attack on one victim, and which of them contradict it.

Every claim is one that an honest run cannot break, on any machine: counts and statuses are held against the engine's
rules, and losses against those of the final images up to float32's rounding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from defenses.options.names import Choice
from sims.attacks.attack import Attack, Threat
from sims.attacks.ball import lengths
from sims.attacks.table import build_attack
from sims.engine.state import EXHAUSTED, FOOLED, NON_FINITE, STATUS
from sims.engine.stopping import StoppingRule

ROUNDING = 1e-5  # of a distance in float32


class Again(NamedTuple):
    """What the victim says of the final images now.

    fooled: (n,) in how many fresh draws each fools; None of a service, which is asked nothing.
    loss, rounding: (n,) of a deterministic victim, the loss of each and what another batch may change it by; None of
        a random one.
    """

    fooled: Int[np.ndarray, " n"] | None
    loss: Float[np.ndarray, " n"] | None = None
    rounding: Float[np.ndarray, " n"] | None = None


class Run(NamedTuple):
    """An attack as it was run: over how many answers it averaged, and whether candidates were put to a vote."""

    attack: Attack
    threat: Threat
    average: int
    votes: bool


class Found(NamedTuple):
    """What a record holds of its images, as arrays of n; length: of the final image from the clean one."""

    images: Float[np.ndarray, "n h w c"]
    length: Float[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    success: Bool[np.ndarray, " n"]
    status: Int[np.ndarray, " n"]
    queries: Int[np.ndarray, " n"]
    fooled: Int[np.ndarray, " n"]
    trace: Float[np.ndarray, "n counts"]
    counts: Int[np.ndarray, " counts"]


def found_of(told: xr.Dataset, images: Float[np.ndarray, "n h w c"], clean: np.ndarray, threat: Threat) -> Found:
    """What a record tells of images of which these are the final ones."""
    names = ("distance", "success", "status", "queries", "fooled", "trace", "count")
    return Found(images, lengths(threat.norm, images - clean), *(told[name].values for name in names))


def contradictions(
    choice: Choice, threat: Threat, stopping: StoppingRule, evaluations: int, found: Found, again: Again
) -> Iterator[tuple[str, int | None]]:
    """(claim, images that contradict it); None where nobody can tell, the victim being random or a service."""
    run = Run(build_attack(choice, threat), threat, choice.shared.average, stopping.draws > 0)
    inside = ((found.images >= 0) & (found.images <= 1)).reshape(len(found.images), -1).all(axis=1)
    yield "outside_the_box", int((~inside).sum())
    yield "outside_the_ball", int((~(found.length <= threat.epsilon * (1 + ROUNDING))).sum())
    yield "distance_not_as_claimed", int((~np.isclose(found.distance, found.length, rtol=ROUNDING)).sum())
    yield "queries_not_possible", int(_queries_contradict(run, found).sum())
    yield "status_not_success", int(_status_contradicts(found).sum())
    yield "trace_not_as_claimed", int(_trace_contradicts(run, found).sum())
    yield "loss_not_as_claimed", _count(_loss_contradicts(run, found, again))
    yield "fresh_draws_not_possible", int(((found.fooled < 0) | (found.fooled > evaluations)).sum())
    yield "fresh_draws_not_as_saved", _count(None if again.fooled is None else again.fooled != found.fooled)
    yield "success_not_confirmed", _count(_success_contradicts(run, found, again))


def _count(contradicts: Bool[np.ndarray, " n"] | None) -> int | None:
    return None if contradicts is None else int(contradicts.sum())


def _queries_contradict(run: Run, found: Found) -> Bool[np.ndarray, " n"]:
    """None or more than the budget; exhausted with a step to spare; or a value that changed after the last query."""
    budget, widest = run.threat.query_budget, run.attack.width * run.average
    impossible = (found.queries <= 0) | (found.queries > budget)
    saved = (found.status == EXHAUSTED) & (found.queries <= budget - widest)
    after = found.counts >= found.queries[:, None]
    changed = (after & (found.trace != found.trace[:, -1:])).any(axis=1)
    return impossible | saved | changed


def _status_contradicts(found: Found) -> Bool[np.ndarray, " n"]:
    """Still running, unknown, or another than what is said of the success."""
    ended = (found.status > 0) & (found.status < len(STATUS))
    return ~ended | ((found.status == FOOLED) != found.success)


def _trace_contradicts(run: Run, found: Found) -> Bool[np.ndarray, " n"]:
    """No number; or, of a decision attack, no distance that ends at the saved image and agrees with the success."""
    if run.attack.feedback != "label":
        return np.asarray(np.isnan(found.trace).any(axis=1))
    last, stopped = found.trace[:, -1], found.status == NON_FINITE
    inside = np.isfinite(last) & (last <= np.float32(run.threat.epsilon))
    elsewhere = ~np.isclose(np.where(inside, last, 0), found.length, rtol=1e-3, atol=1e-6)
    undecided = stopped | run.votes  # may lie inside and be no success
    unlike = np.where(undecided, found.success & ~inside, found.success != inside)
    return np.isnan(found.trace).any(axis=1) | (found.trace < 0).any(axis=1) | elsewhere | unlike | _rises(run, found)


def _rises(run: Run, found: Found) -> Bool[np.ndarray, " n"]:
    """The distance grows with the queries, which is never so where it is what the attack minimises."""
    known = np.where(np.isfinite(found.trace), found.trace, np.finfo(np.float32).max)
    return np.asarray((np.diff(known, axis=1) > 0).any(axis=1) & run.attack.minimizes)


def _loss_contradicts(run: Run, found: Found, again: Again) -> Bool[np.ndarray, " n"] | None:
    """A last loss that is not the final image's, or a loss below 0 that did not end the attack; None if random.

    A score attack reports the image whose loss is its value, on a deterministic victim the same whenever it is asked
    (averaged, or the incumbent once more); before the first answer the loss is unknown and the image the clean one.
    """
    if again.loss is None or again.rounding is None or run.attack.feedback == "label":
        return None
    last = found.trace[:, -1]
    unknown = np.isinf(last) & (found.length == 0) & ~found.success
    other = ~unknown & ~(np.abs(last - again.loss) <= again.rounding)
    fooled = found.success[:, None] & (found.counts >= found.queries[:, None])
    early = (~fooled & (found.trace < -again.rounding[:, None])).any(axis=1)
    return other | early & (not run.votes)


def _success_contradicts(run: Run, found: Found, again: Again) -> Bool[np.ndarray, " n"] | None:
    """Success without an image that fools a deterministic victim, or such an image without success; None if random.

    An image may fool and be no success where nobody asked: the clean one before any other, or one whose vote the
    budget has cut short. The answers behind an average came in other batches than the evaluation's, so there a loss
    within rounding of 0 contradicts nothing.
    """
    if again.loss is None or again.rounding is None or again.fooled is None:
        return None
    last, fools = found.trace[:, -1], again.fooled > 0
    clean = (found.length == 0) & (np.isinf(last) | (run.attack.feedback == "label") & (last > run.threat.epsilon))
    unpaid = (found.status == EXHAUSTED) & (found.queries > run.threat.query_budget - run.average) & run.votes
    wrong = np.where(found.success, ~fools, fools & ~clean & ~unpaid)
    return wrong & ((run.average == 1) | (np.abs(again.loss) > again.rounding))
