"""A white-box attack on a set of images: run after run, from new starting points and against new rivals.

Every final image is judged by fresh draws of the defence, those of a selection, and of each image the candidate is
kept that fooled most of them. Where the defence is deterministic an image that has fallen is left alone by the runs
that follow; where it is random every run spends its whole budget, and other draws than the selection's must have the
last word.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from defenses.defense import Defense
from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, parse_attack
from sims.engine import Result, Schedule, run_attack
from sims.oracle import averaged, label_oracle, loss_oracle, score_oracle
from sims.reevaluation import other_than, summed_scores, times_predicted
from sims.victims import Victim
from sims.white_box.gradients import ROUTES, gradient_oracle
from sims.white_box.table import build_white_box, is_white_box, members, parse_white_box

RUN_STREAM, SELECTION_STREAM, RIVAL_STREAM = range(3)
RIVAL_DRAWS = 10  # of a random defence, behind the ranking of the rivals


@dataclass(frozen=True)
class Pursuit:
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


class Caught(NamedTuple):
    """What came of it: images (n, h, w, c), the strongest candidates; queries (n,) rows the network evaluated for each.

    evaluated, padded: rows forwarded in all, and only to fill a tile; those of a gradient go forward and back.
    """

    images: np.ndarray
    queries: np.ndarray
    evaluated: int
    padded: int


class Run(NamedTuple):
    """One run: the attack's text, and which of the rivals it is against (0 is the most likely other class)."""

    text: str
    rival: int


def runs_of(text: str) -> list[Run]:
    """The runs that an attack's text stands for; ValueError for a text that no table knows."""
    return [run for member in members(text) for run in _runs_of_member(member)]


def _runs_of_member(text: str) -> Iterator[Run]:
    if not is_white_box(text):
        yield Run(text, 0)
        return
    choice = parse_white_box(text)
    for _ in range(choice.shared.restarts):
        yield from (Run(text, rival) for rival in range(choice.method.rivals(choice.settings)))


def pursue(key: Key[Array, ""], text: str, pursuit: Pursuit, victim: Victim, defense: Defense) -> Caught:
    """Attack the victim's images behind `defense` by the attack of that text; ValueError as the tables raise it."""
    images, labels, draws = victim.images, victim.labels, pursuit.selections if defense.randomized else 1
    judge, selection = label_oracle(victim.classifier, defense), jax.random.fold_in(key, SELECTION_STREAM)
    best, most = images, np.full(len(images), -1)
    queries, totals = np.zeros(len(images), np.int64), np.zeros(2, np.int64)
    runs = [run for run in runs_of(text) if run.rival < victim.classifier.num_classes - 1]
    for number, run in enumerate(runs):
        settled = (most > 0) & (not defense.randomized)
        if settled.all():
            break
        result = _run(key, number, len(runs), run, pursuit, victim, defense, best, settled)
        votes = times_predicted(selection, judge, result.images, draws, pursuit.tile)
        fooled = other_than(labels, votes)
        wins = fooled > most
        best = np.where(_wide(wins), result.images, best)
        most = np.maximum(most, fooled)
        queries, totals = queries + result.queries, totals + np.array([result.evaluated, result.padded])
    pursuit.advance(len(runs) * len(images), len(runs) * len(images))
    return Caught(best, queries, *map(int, totals))


def _run(key, number: int, runs: int, run: Run, pursuit: Pursuit, victim: Victim, defense: Defense, best, settled):
    """One run over all images; a settled one costs nothing and keeps its best candidate."""
    stream = jax.random.fold_in(jax.random.fold_in(key, RUN_STREAM), number)
    folder = pursuit.checkpoints
    checkpoint = None if folder is None else folder / f"run-{number}.npz"

    def advance(finished: int, rows: int) -> None:
        pursuit.advance(number * len(best) + finished, runs * len(best))

    tell = (checkpoint, advance)
    if is_white_box(run.text):
        return _descend(stream, run, pursuit, victim, defense, np.where(_wide(settled), best, victim.images), tell)
    result = _query(stream, run.text, pursuit, victim, defense, np.flatnonzero(~settled), tell)
    everywhere = best.copy(), np.zeros(len(best), np.int64)
    for whole, part in zip(everywhere, (result.images, result.queries), strict=True):
        whole[~settled] = part
    return result._replace(images=everywhere[0], queries=everywhere[1])


def _descend(key, run: Run, pursuit: Pursuit, victim: Victim, defense: Defense, starts, tell) -> Result:
    choice, attack = parse_white_box(run.text), build_white_box(run.text, pursuit.threat)
    method, route = choice.method, choice.shared.route
    draws = choice.shared.eot if defense.randomized and route != "blind" else 1
    oracle = gradient_oracle(victim.classifier, defense, method.loss, route, draws)
    rivals = victim.labels
    if method.rivals(choice.settings) > 1:
        rivals = _ranked(jax.random.fold_in(key, RIVAL_STREAM), pursuit, victim, ROUTES[route](defense))[:, run.rival]
    return run_attack(
        key,
        attack._replace(minimizes=defense.randomized or route == "blind"),
        oracle,
        victim.images,
        np.stack([victim.labels, rivals], axis=1),
        victim.ids,
        Schedule(method.evaluations(choice.settings) * draws, pursuit.rows, pursuit.tile),
        *tell,
        starts=starts,
    )


def _query(key, text: str, pursuit: Pursuit, victim: Victim, defense: Defense, chosen, tell) -> Result:
    """The query attack on the chosen images; an image leaves a random defence when most of the selections agree."""
    attack, average = build_attack(text, pursuit.threat), parse_attack(text).average
    oracle = loss_oracle(victim.classifier, defense)
    stopping = f"majority:{pursuit.selections}" if defense.randomized else "first-success"
    return run_attack(
        key,
        attack,
        averaged(oracle, average) if average > 1 else oracle,
        victim.images[chosen],
        victim.labels[chosen],
        victim.ids[chosen],
        Schedule(pursuit.threat.query_budget, pursuit.rows, pursuit.tile, stopping=stopping),
        *tell,
    )


def _ranked(key, pursuit: Pursuit, victim: Victim, defense: Defense) -> Int[np.ndarray, "n rivals"]:
    """The other classes of every clean image, the most likely first, by the mean scores behind that defence."""
    oracle = score_oracle(victim.classifier, defense)
    scores = summed_scores(key, oracle, victim.images, RIVAL_DRAWS if defense.randomized else 1, pursuit.tile)
    scores[np.arange(len(scores)), victim.labels] = -np.inf
    return np.argsort(-scores, axis=1)[:, :-1]


def _wide(mask: np.ndarray) -> np.ndarray:
    return mask[:, None, None, None]
