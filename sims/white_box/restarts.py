"""A white-box attack on a set of images: run after run, from new starting points and against new rivals.

Every final image is judged by fresh draws of the defence, those of a selection, and of each image the candidate is
kept that fooled most of them; the last candidate is the clean image, which a defence may get wrong by itself. Where
the defence is deterministic an image that has fallen is left alone by the runs that follow. Where it is random every
run spends its whole budget and ends with its last iterate, and other draws than the selection's must have the last
word.
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

from defenses.data.inputs import as_images, as_labels
from defenses.model import Model
from defenses.options.names import Choice
from sims.attacks.attack import Attack, Threat
from sims.attacks.table import build_attack
from sims.engine.run import Result, Schedule, run_attack
from sims.engine.state import NON_FINITE
from sims.engine.stopping import FIRST_SUCCESS, WHOLE_BUDGET, majority
from sims.measurements.fresh_draws import summed_scores, times_predicted, times_right
from sims.victims.oracle import Oracle, oracle_of
from sims.victims.victim import Victim
from sims.white_box.gradients import ROUTES, gradient_oracle
from sims.white_box.incumbent import newest
from sims.white_box.table import build_white_box, is_white_box, members

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
    """One run: the attack without its restarts, the run's number there, and the rival (0: the most likely)."""

    choice: Choice
    number: int
    rival: int


def runs_of(choice: Choice, classes: int) -> list[Run]:
    """The runs that an attack stands for on a model of so many classes."""
    return [run for member in members(choice) for run in _runs_of_member(member) if run.rival < classes - 1]


def most_rows(run: Run, plan: AttackPlan, model: Model) -> int:
    """Rows that the run may evaluate for one image: exactly so many of a random model by a white-box attack."""
    if not is_white_box(run.choice):
        return plan.threat.query_budget
    return run.choice.row.evaluations(run.choice.settings) * _draws(run.choice, model)


def _draws(choice: Choice, model: Model) -> int:
    """Draws behind every gradient: a deterministic model is asked once, and so is the classifier alone."""
    return choice.shared.eot if _sees_draws(choice, model) else 1


def _sees_draws(choice: Choice, model: Model) -> bool:
    return model.randomized and choice.shared.route != "blind"


def _runs_of_member(choice: Choice) -> Iterator[Run]:
    if not is_white_box(choice):
        yield Run(choice, 0, 0)
        return
    rivals = choice.row.rivals(choice.settings)
    once = replace(choice, shared=replace(choice.shared, restarts=1))
    for number in range(choice.shared.restarts * rivals):
        yield Run(once, number, number % rivals)


def with_restarts(key: Key[Array, ""], choice: Choice, plan: AttackPlan, victim: Victim, model: Model) -> Outcome:
    """Attack the victim's images on `model` by that attack; raises ValueError as it does, or for other shapes."""
    images = as_images(victim.images)
    labels = as_labels(victim.labels, len(images))
    victim, draws = victim._replace(pictures=images, labels=labels), plan.selections if model.randomized else 1
    judge, selection = oracle_of(model, "label"), jax.random.fold_in(key, SELECTION_STREAM)

    def fooled_by(candidates: np.ndarray) -> np.ndarray:
        return draws - times_right(labels, times_predicted(selection, judge, candidates, draws, plan.tile))

    best, most = images, np.full(len(images), -1)
    queries, totals = np.zeros(len(images), np.int64), np.zeros(2, np.int64)
    stopped = np.zeros(len(images), bool)
    runs = runs_of(choice, model.num_classes)
    descent = cache(partial(_descent, key, plan, victim, model))  # one object per attack, compiled once
    for place, run in enumerate(runs):
        settled = (most > 0) & (not model.randomized)
        if settled.all():
            break
        steps = _Steps(plan, place, len(runs), len(images))
        result = _run(key, run, steps, plan, victim, model, descent, settled)
        fooled = fooled_by(result.images)
        wins = (fooled > most) & ~settled
        best = np.where(_wide(wins), result.images, best)
        most = np.where(wins, fooled, most)
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


def _run(key, run: Run, steps: _Steps, plan: AttackPlan, victim: Victim, model: Model, descent, settled) -> Result:
    """One run over all images but the settled ones.

    Its stream depends on the attack and its number alone, so that an ensemble's member does what it does by itself.
    """
    member = jax.random.fold_in(jax.random.fold_in(key, RUN_STREAM), zlib.crc32(str(run.choice).encode()))
    stream = jax.random.fold_in(member, run.number)
    if is_white_box(run.choice):
        return _descend(stream, descent(run.choice), run, steps, plan, victim, model, settled)
    return _query(stream, run.choice, steps, plan, victim, model, settled)


class _Descent(NamedTuple):
    """What the runs of one white-box attack share: the attack, what it sees, and the rivals (n, k) in their order."""

    attack: Attack
    oracle: Oracle
    rivals: Int[np.ndarray, "n k"]


def _descent(key, plan: AttackPlan, victim: Victim, model: Model, choice: Choice) -> _Descent:
    method, route = choice.row, choice.shared.route
    attack = build_white_box(choice, plan.threat)
    attack = attack._replace(name=f"{attack.name} on {model.name}")
    attack = newest(attack) if _sees_draws(choice, model) else attack
    oracle = gradient_oracle(model, method.loss, route, _draws(choice, model), choice.shared.select)
    if method.rivals(choice.settings) == 1:
        return _Descent(attack, oracle, victim.labels[:, None])
    ranked = _ranked(jax.random.fold_in(key, RIVAL_STREAM), plan, victim, ROUTES[route](model))
    return _Descent(attack, oracle, ranked)


def _descend(
    key, descent: _Descent, run: Run, steps: _Steps, plan: AttackPlan, victim: Victim, model: Model, settled
) -> Result:
    """What is blind to a defence, or sees a random one, cannot tell when it has fooled it: it spends its budget."""
    blind_or_random = model.randomized or run.choice.shared.route == "blind"
    stopping = WHOLE_BUDGET if blind_or_random else FIRST_SUCCESS
    return run_attack(
        key,
        descent.attack,
        descent.oracle,
        victim.images,
        np.stack([victim.labels, descent.rivals[:, run.rival]], axis=1),
        victim.ids,
        Schedule(most_rows(run, plan, model), plan.rows, plan.tile, stopping=stopping),
        steps.checkpoint,
        steps.on_chunk,
        settled=settled,
    )


def _query(key, choice: Choice, steps: _Steps, plan: AttackPlan, victim: Victim, model: Model, settled) -> Result:
    """The query attack; an image leaves a random model when most of the selections agree."""
    attack = build_attack(choice, plan.threat)
    stopping = majority(plan.selections) if model.randomized else FIRST_SUCCESS
    return run_attack(
        key,
        attack._replace(name=f"{attack.name} on {model.name}"),
        oracle_of(model, "loss", average=choice.shared.average),
        victim.images,
        victim.labels,
        victim.ids,
        Schedule(plan.threat.query_budget, plan.rows, plan.tile, stopping=stopping),
        steps.checkpoint,
        steps.on_chunk,
        settled=settled,
    )


def _ranked(key, plan: AttackPlan, victim: Victim, model: Model) -> Int[np.ndarray, "n rivals"]:
    """The other classes of every clean image, the most likely first, by the model's mean scores."""
    draws = RIVAL_DRAWS if model.randomized else 1
    scores = summed_scores(key, oracle_of(model, "scores"), victim.images, draws, plan.tile)
    scores[np.arange(len(scores)), victim.labels] = -np.inf
    return np.argsort(-scores, axis=1)[:, :-1]


def _wide(mask: np.ndarray) -> np.ndarray:
    return mask[:, None, None, None]
