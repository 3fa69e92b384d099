"""A white-box attack on a set of images: run after run, from new starting points and against new rivals.

Every final image is judged by fresh draws of the defence, those of a selection, and of each image the candidate is
kept that fooled most of them; the last candidate is the clean image, which a defence may get wrong by itself. Where
the defence is deterministic an image that has fallen is left alone by the runs that follow, unless it fell unmoved.
Where it is random every run spends its whole budget and ends with its last iterate, and other draws than the
selection's must have the last word.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from defenses.defense import Defense
from sims.attacks.attack import Attack, Threat
from sims.attacks.names import spelled
from sims.attacks.table import build_attack, parse_attack
from sims.engine.run import Result, Schedule, run_attack
from sims.engine.slots import NON_FINITE
from sims.measurements.fresh_draws import summed_scores, times_predicted, times_right
from sims.victims.oracle import Oracle, averaged, label_oracle, loss_oracle, score_oracle
from sims.victims.victim import Victim
from sims.white_box.gradients import ROUTES, gradient_oracle
from sims.white_box.incumbent import newest
from sims.white_box.table import Choice, build_white_box, is_white_box, members, parse_white_box

RUN_STREAM, SELECTION_STREAM, RIVAL_STREAM = range(3)
RIVAL_DRAWS = 10  # of a random defence, behind the ranking of the rivals


@dataclass(frozen=True)
class AttackPlan:
    """How the images are attacked.

    selections: >= 1 fresh draws of a random defence that choose between candidates. rows, tile: as in
    `engine.Schedule`. checkpoints: folder for the states of the runs, or None. advance: told how many images have left
    the runs, and how many there are in all runs.
    """

    threat: Threat
    selections: int = 10
    rows: int = 64
    tile: int = 16
    checkpoints: Path | None = None
    advance: Callable[[int, int], None] = lambda done, total: None


class Outcome(NamedTuple):
    """What came of it: images (n, h, w, c), the strongest candidates; queries (n,) rows the runs evaluated for each.

    non_finite: (n,) bool, a run of the image stopped at an answer or a gradient that was not finite. evaluated, padded:
    rows of the runs in all, and only to fill a tile; those of a gradient go forward and back. The draws that choose
    between candidates and rank rivals come on top.
    """

    images: np.ndarray
    queries: np.ndarray
    non_finite: np.ndarray
    evaluated: int
    padded: int


class Run(NamedTuple):
    """One run: the attack's text without its restarts, the run's number there, and the rival (0: the most likely)."""

    text: str
    number: int
    rival: int


def runs_of(text: str, classes: int) -> list[Run]:
    """The runs that an attack's text stands for on a victim of so many classes; ValueError for an unknown text."""
    return [run for member in members(text) for run in _runs_of_member(member) if run.rival < classes - 1]


def most_rows(run: Run, plan: AttackPlan, defense: Defense) -> int:
    """Rows that the run may evaluate for one image: exactly so many of a random defence by a white-box attack."""
    if not is_white_box(run.text):
        return plan.threat.query_budget
    choice = parse_white_box(run.text)
    return choice.method.evaluations(choice.settings) * _draws(choice, defense)


def _draws(choice: Choice, defense: Defense) -> int:
    """Draws behind every gradient: a deterministic defence is asked once, and so is none at all."""
    return choice.shared.eot if defense.randomized and choice.shared.route != "blind" else 1


def _runs_of_member(text: str) -> Iterator[Run]:
    if not is_white_box(text):
        yield Run(text, 0, 0)
        return
    choice = parse_white_box(text)
    rivals, once = choice.method.rivals(choice.settings), replace(choice.shared, restarts=1)
    for number in range(choice.shared.restarts * rivals):
        yield Run(spelled(text.partition(":")[0], choice.settings, once), number, number % rivals)


def with_restarts(key: Key[Array, ""], text: str, plan: AttackPlan, victim: Victim, defense: Defense) -> Outcome:
    """Attack the victim's images behind `defense` by the attack of that text; ValueError as the tables raise it."""
    images, labels, draws = victim.images, victim.labels, plan.selections if defense.randomized else 1
    judge, selection = label_oracle(victim.classifier, defense), jax.random.fold_in(key, SELECTION_STREAM)

    def fooled_by(candidates: np.ndarray) -> np.ndarray:
        return draws - times_right(labels, times_predicted(selection, judge, candidates, draws, plan.tile))

    best, most = images, np.full(len(images), -1)
    queries, totals = np.zeros(len(images), np.int64), np.zeros(2, np.int64)
    stopped = np.zeros(len(images), bool)
    runs = runs_of(text, victim.classifier.num_classes)
    descent = cache(partial(_descent, key, plan, victim, defense))  # one object per text, compiled once
    for place, run in enumerate(runs):
        settled = (most > 0) & (not defense.randomized)
        if settled.all():
            break
        steps = _Steps(plan, place, len(runs), len(images))
        result = _run(key, run, steps, plan, victim, defense, descent, best, settled)
        fooled = fooled_by(result.images)
        wins = fooled > most
        best = np.where(_wide(wins), result.images, best)
        most = np.maximum(most, fooled)
        stopped |= result.status == NON_FINITE
        queries, totals = queries + result.queries, totals + np.array([result.evaluated, result.padded])
    best = np.where(_wide(fooled_by(images) > most), images, best)
    plan.advance(len(runs) * len(images), len(runs) * len(images))
    return Outcome(best, queries, stopped, *map(int, totals))


class _Steps(NamedTuple):
    """Where the state of a run is saved, and whom it tells how far it is."""

    plan: AttackPlan
    place: int
    runs: int
    images: int

    @property
    def checkpoint(self) -> Path | None:
        folder = self.plan.checkpoints
        return None if folder is None else folder / f"run-{self.place}.npz"

    def on_chunk(self, finished: int, rows: int) -> None:
        self.plan.advance(self.place * self.images + finished, self.runs * self.images)


def _run(
    key, run: Run, steps: _Steps, plan: AttackPlan, victim: Victim, defense: Defense, descent, best, settled
) -> Result:
    """One run over all images; a settled one costs nothing and keeps its best candidate.

    Its stream depends on the attack and its number alone, so that an ensemble's member does what it does by itself.
    """
    member = jax.random.fold_in(jax.random.fold_in(key, RUN_STREAM), zlib.crc32(run.text.encode()))
    stream = jax.random.fold_in(member, run.number)
    if is_white_box(run.text):
        starts = np.where(_wide(settled), best, victim.images)
        return _descend(stream, descent(run.text), run, steps, plan, victim, defense, starts)
    result = _query(stream, run.text, steps, plan, victim, defense, np.flatnonzero(~settled))
    everywhere = best.copy(), np.zeros(len(best), np.int64), np.zeros(len(best), np.int64)
    for whole, part in zip(everywhere, (result.images, result.queries, result.status), strict=True):
        whole[~settled] = part
    return result._replace(images=everywhere[0], queries=everywhere[1], status=everywhere[2])


class _Descent(NamedTuple):
    """What the runs of one white-box attack share: the attack, what it sees, and the rivals (n, k) in their order."""

    attack: Attack
    oracle: Oracle
    rivals: Int[np.ndarray, "n k"]


def _descent(key, plan: AttackPlan, victim: Victim, defense: Defense, text: str) -> _Descent:
    choice, attack = parse_white_box(text), build_white_box(text, plan.threat)
    method, route = choice.method, choice.shared.route
    attack = attack._replace(name=f"{attack.name} on {defense.name}", minimizes=defense.randomized or route == "blind")
    attack = newest(attack) if defense.randomized and route != "blind" else attack
    oracle = gradient_oracle(victim.classifier, defense, method.loss, route, _draws(choice, defense))
    if method.rivals(choice.settings) == 1:
        return _Descent(attack, oracle, victim.labels[:, None])
    ranked = _ranked(jax.random.fold_in(key, RIVAL_STREAM), plan, victim, ROUTES[route](defense))
    return _Descent(attack, oracle, ranked)


def _descend(
    key, descent: _Descent, run: Run, steps: _Steps, plan: AttackPlan, victim: Victim, defense: Defense, starts
) -> Result:
    return run_attack(
        key,
        descent.attack,
        descent.oracle,
        victim.images,
        np.stack([victim.labels, descent.rivals[:, run.rival]], axis=1),
        victim.ids,
        Schedule(most_rows(run, plan, defense), plan.rows, plan.tile),
        steps.checkpoint,
        steps.on_chunk,
        starts,
    )


def _query(key, text: str, steps: _Steps, plan: AttackPlan, victim: Victim, defense: Defense, chosen) -> Result:
    """The query attack on the chosen images; an image leaves a random defence when most of the selections agree."""
    attack, average = build_attack(text, plan.threat), parse_attack(text).average
    oracle = loss_oracle(victim.classifier, defense)
    stopping = f"majority:{plan.selections}" if defense.randomized else "first-success"
    return run_attack(
        key,
        attack._replace(name=f"{attack.name} on {defense.name}"),
        averaged(oracle, average) if average > 1 else oracle,
        victim.images[chosen],
        victim.labels[chosen],
        victim.ids[chosen],
        Schedule(plan.threat.query_budget, plan.rows, plan.tile, stopping=stopping),
        steps.checkpoint,
        steps.on_chunk,
    )


def _ranked(key, plan: AttackPlan, victim: Victim, defense: Defense) -> Int[np.ndarray, "n rivals"]:
    """The other classes of every clean image, the most likely first, by the mean scores behind that defence."""
    oracle = score_oracle(victim.classifier, defense)
    scores = summed_scores(key, oracle, victim.images, RIVAL_DRAWS if defense.randomized else 1, plan.tile)
    scores[np.arange(len(scores)), victim.labels] = -np.inf
    return np.argsort(-scores, axis=1)[:, :-1]


def _wide(mask: np.ndarray) -> np.ndarray:
    return mask[:, None, None, None]
