"""The record of a public attack, and how it is run: image by image or in batches, cut at the budget."""

import contextlib
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from defenses.options.names import Choice
from sims.attacks.ball import Norm
from sims.peers.account import Account, BudgetSpent
from sims.peers.adapter import CountingVictim

Goal = Literal["ball", "any", "closest"]


class Task(NamedTuple):
    """What a peer is given: images (n, h, w, c), their labels, an adversarial start each, budget, radius and seed."""

    images: Float[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, " n"]
    starts: Float[np.ndarray, "n h w c"]
    query_budget: int
    epsilon: float
    seed: int


class Peer(NamedTuple):
    """A public attack beside one of ours.

    name: of the pair, our attack and the library. library: what Python imports. ours: our attack.
    goal: an adversarial image in the ball, any adversarial image (both compared by robust accuracy), or the closest
        one (compared by the median distance); the last two have ε = inf.
    batch: images it is given at a time in the comparison, None for as many as the run allows; 1 where it loops over
        the images itself or where a larger batch changes what it finds.
    batches: whether it takes several images at a time at all.
    run: (victim, task) attacks all images of the task, within the budget or until BudgetSpent; returns the queries the
        peer itself counted, over all images, None where it counts none.
    note: what is wrong or particular, in a few words.
    """

    name: str
    library: str
    ours: Choice
    norm: Norm
    goal: Goal
    batch: int | None
    batches: bool
    run: Callable[[CountingVictim, Task], int | None]
    note: str


class Outcome(NamedTuple):
    """What the peer found and what it cost, over (n,) images.

    images: the best adversarial image it queried, the clean one where there is none; distance: (n,) inf there.
    queries: rows up to the first success or within the budget. forwarded: rows evaluated in all. outside: of these,
    rows that left [0, 1]. counted: the peer's own count, None where it has none. seconds: wall time without the
    accounting; forward_seconds: of these, in the network; processor_seconds: of all cores, accounting included.
    failure: the message of its last exception, "" if none; failed: images it was attacking then.
    """

    images: Float[np.ndarray, "n h w c"]
    distance: Float[np.ndarray, " n"]
    queries: Int[np.ndarray, " n"]
    forwarded: int
    outside: int
    counted: int | None
    seconds: float
    forward_seconds: float
    processor_seconds: float
    failure: str
    failed: int

    @property
    def success(self) -> np.ndarray:
        """(n,) bool: an adversarial image within the budget and the ball."""
        return np.isfinite(self.distance)


def run_peer(peer: Peer, victim: CountingVictim, task: Task, batch: int, advance=lambda done: None) -> Outcome:
    """Run the peer on the task's images, `batch` at a time; an exception of the peer ends its batch and is reported.

    It runs on one image for one row first, so that no wall time holds what libraries do when they are imported.
    """
    first = task._replace(images=task.images[:1], labels=task.labels[:1], starts=task.starts[:1], query_budget=1)
    _run_batch(peer, victim, first)
    parts = []
    for start in range(0, len(task.images), batch):
        chunk = slice(start, start + batch)
        part = task._replace(
            images=task.images[chunk], labels=task.labels[chunk], starts=task.starts[chunk], seed=task.seed + start
        )
        parts.append(_run_batch(peer, victim, part))
        advance(min(start + batch, len(task.images)))
    return _join(parts)


def _run_batch(peer: Peer, victim: CountingVictim, task: Task) -> Outcome:
    account = Account(task.images, task.labels, peer.norm, task.epsilon, task.query_budget, peer.goal == "closest")
    victim.account = account
    rows, forward, bookkeeping = victim.rows, victim.seconds, victim.bookkeeping
    failure, counted = "", None
    started, processor = time.perf_counter(), time.process_time()
    try:
        with contextlib.suppress(BudgetSpent):
            counted = peer.run(victim, task)
    except Exception as error:  # whatever a foreign library raises is a finding, not the end of the comparison
        failure = f"{type(error).__name__}: {error}"
    finally:
        victim.account = None
    processor_seconds = time.process_time() - processor
    seconds = time.perf_counter() - started - (victim.bookkeeping - bookkeeping)
    return Outcome(
        account.best,
        account.distance,
        account.queries,
        victim.rows - rows,
        account.outside,
        counted,
        seconds,
        victim.seconds - forward,
        processor_seconds,
        failure,
        len(task.images) if failure else 0,
    )


def _join(parts: list[Outcome]) -> Outcome:
    counts = [part.counted for part in parts if part.counted is not None]
    failures = [part.failure for part in parts if part.failure]
    return Outcome(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.distance for part in parts]),
        np.concatenate([part.queries for part in parts]),
        sum(part.forwarded for part in parts),
        sum(part.outside for part in parts),
        sum(counts) if len(counts) == len(parts) else None,
        sum(part.seconds for part in parts),
        sum(part.forward_seconds for part in parts),
        sum(part.processor_seconds for part in parts),
        failures[-1] if failures else "",
        sum(part.failed for part in parts),
    )
