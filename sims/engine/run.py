"""The engine: runs an ask/tell attack over a queue of images, batched, counted, stopped and refilled.

A fixed number of slots each hold one image in progress (`slots`); the rows they wait for are forwarded in fixed
tiles (`tiles`). The iterations run in jitted chunks called from the host, which saves the state between chunks.

Keys: image i uses fold_in(key, i) and its step t fold_in(·, t), so that a result does not depend on the queue, the
neighbours, the slots, the chunk length or an interruption.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from defenses.options.ranges import check_counts
from sims.attacks.attack import Attack
from sims.engine.arguments import checked
from sims.engine.checkpoint import fingerprint, load_state, save_state
from sims.engine.host_loop import run_on_host
from sims.engine.slots import compiled_advance, compiled_start
from sims.engine.state import FOOLED, RUNNING, Queue, RunPlan
from sims.engine.stopping import FIRST_SUCCESS, StoppingRule
from sims.victims.host import HostOracle, identity, interface
from sims.victims.oracle import Oracle


@dataclass(frozen=True)
class Schedule:
    """How a run is laid out; only `query_budget` and `stopping` change what happens to an image.

    query_budget: rows one image may cost, >= 1.
    rows: rows in flight, a multiple of tile; a model on the host is asked for at most so many at once.
    tile: rows per forward pass, >= 1; results are bit for bit equal for one tile size, which queues of at least so
        many rows have.
    chunk: iterations between two returns to the host, >= 1.
    stopping: when an image that fooled the victim may leave.
    """

    query_budget: int
    rows: int = 128
    tile: int = 16
    chunk: int = 50
    stopping: StoppingRule = FIRST_SUCCESS

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_counts(self, query_budget=1, rows=0, tile=1, chunk=1)
        if self.rows < self.tile or self.rows % self.tile:
            raise ValueError(f"rows must be a positive multiple of tile = {self.tile}, got {self.rows}")

    def fitted(self, rows: int) -> "Schedule":
        """The schedule of a run that never has more than so many rows waiting: a smaller tile, and fewer rows.

        Then the bits of answers may be those of the smaller tile.
        """
        tile = min(self.tile, rows)
        return replace(self, tile=tile, rows=min(self.rows, -(-rows // tile) * tile))


class Result(NamedTuple):
    """Outcome of a run on the host, and what it cost.

    images: (n, h, w, c) float32, the last candidates. queries: (n,) rows the network evaluated for each image.
    status: (n,) see `state.STATUS`. trace: (n, points) float32, the attack's value after each query count of
    trace_at (points,), inf while unknown. evaluated, padded: rows forwarded for an image, and only to fill a tile.
    seconds: wall time of this call, compilation included.
    """

    images: np.ndarray
    queries: np.ndarray
    status: np.ndarray
    trace: np.ndarray
    trace_at: np.ndarray
    evaluated: int
    padded: int
    seconds: float

    @property
    def success(self) -> np.ndarray:
        """(n,) bool: the candidate fooled the victim when it was queried, within the budget."""
        return self.status == FOOLED


def run_attack(
    key: Key[Array, ""],
    attack: Attack,
    oracle: Oracle | HostOracle,
    images: Float[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, "n ..."],
    ids: Int[np.ndarray, " n"],
    schedule: Schedule,
    checkpoint: Path | None = None,
    on_chunk: Callable[[int, int], None] = lambda finished, rows: None,
    starts: Float[np.ndarray, "n h w c"] | None = None,
    settled: Bool[np.ndarray, " n"] | None = None,
) -> Result:
    """Attack every image of the queue within the budget; return when all have left.

    oracle: a jitted victim, or one that the host asks: any callable or a service (`sims.victims.host`). The latter is
    asked once an iteration, never for padding, and its replies are kept beside the checkpoint as they come.
    images: float32 in [0, 1]. labels: true classes, in [0, classes), or the targets of a targeted oracle, or the goals
    (n, 2) of a white-box attack, the true class and a rival. ids: name the images' random streams (their index in the
    dataset). checkpoint: file the state is saved to after every chunk, and resumed from when it exists. on_chunk: told
    after every chunk how many images have left and how many rows were evaluated in all. starts: for each image one that
    may be adversarial; attacks that walk in begin there. settled: images that are left alone; nothing is asked for
    them, and they end as they are with the status "gave up". What NumPy takes for an array is one, such as a tensor.
    Raises ValueError for images that are not finite, leave [0, 1] or have another order of axes, labels that are no
    classes or outside [0, classes), lengths that differ, an oracle of another feedback than the attack's, a stopping
    rule for an attack that never stops, or a checkpoint that is damaged or of another run.
    """
    given = checked(attack, oracle, images, labels, ids, starts)
    check_stopping(attack, schedule.stopping)
    started = time.perf_counter()
    queue = queue_of(key, *given, settled)
    compiled = interface(oracle, attack.width) if isinstance(oracle, HostOracle) else oracle
    plan = run_plan(attack, compiled, schedule, len(images))
    state = compiled_start(plan, compiled.params, queue)
    totals = np.zeros(2, np.int64)
    layout = (str(schedule.stopping), schedule.query_budget, schedule.rows, schedule.tile)
    seen = (compiled.rows_per_query, compiled.targeted)
    mark = fingerprint(attack.name, *layout, *seen, *_data(attack, compiled, queue))
    if isinstance(oracle, HostOracle):
        mark = fingerprint(mark, identity(oracle))
    if checkpoint is not None and checkpoint.exists():
        state, totals = load_state(checkpoint, state, mark)
    if isinstance(oracle, HostOracle):
        chunk = schedule.chunk
        state, totals = run_on_host(plan, oracle, queue, state, totals, chunk, mark, checkpoint, on_chunk)
    while np.any(np.asarray(state.outcome.status) == RUNNING):
        state = compiled_advance(plan, schedule.chunk, compiled.params, queue, state)
        totals = totals + np.array([state.rows.evaluated, state.rows.padded], np.int64)
        if checkpoint is not None:
            save_state(checkpoint, state, totals, mark)
        on_chunk(int(np.sum(np.asarray(state.outcome.status) != RUNNING)), int(totals[0]))
    candidates, queries, status, trace = (np.asarray(part) for part in state.outcome)
    at, seconds = np.array(plan.trace_at), time.perf_counter() - started
    return Result(candidates, queries, status, trace, at, int(totals[0]), int(totals[1]), seconds)


def queue_of(key: Key[Array, ""], images, labels, ids, starts, settled=None) -> Queue:
    """The images to attack on the device, each with a random stream of its own."""
    streams = _streams(key, jnp.asarray(ids, jnp.int32))
    pixels = jnp.asarray(images, jnp.float32)
    begin = pixels if starts is images else jnp.asarray(starts, jnp.float32)
    alone = jnp.zeros(len(images), bool) if settled is None else jnp.asarray(settled)
    return Queue(pixels, jnp.asarray(labels, jnp.int32), streams, begin, alone)


@jax.jit
def _streams(key, ids):
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(ids)


def run_plan(attack: Attack, oracle: Oracle, schedule: Schedule, images: int) -> RunPlan:
    """The static half of a run with so many images: no more slots and no larger tile than they can fill."""
    fitted, slots = schedule.fitted(images * attack.width), slots_of(attack, schedule, images)
    budget, hidden = schedule.query_budget, oracle._replace(params=None)
    return RunPlan(attack, hidden, schedule.stopping, budget, trace_counts(budget), fitted.rows, fitted.tile, slots)


def slots_of(attack: Attack, schedule: Schedule, images: int) -> int:
    """How many images are in progress at a time.

    Where a step asks for several rows, one spare slot per tile keeps rows waiting, so that tiles fill.
    """
    fitted = schedule.fitted(images * attack.width)
    spare = fitted.rows // fitted.tile if attack.width > 1 else 0
    return min(fitted.rows // attack.width + spare, images)


def compile_run(attack: Attack, oracle: Oracle, queue: Queue, schedule: Schedule) -> None:
    """Compile the two functions of such a run: the chunk is called on the queue of which nothing is left."""
    plan = run_plan(attack, oracle, schedule, len(queue.images))
    state = compiled_start(plan, oracle.params, queue)
    finished = state._replace(waiting=jnp.int32(len(queue.images)))
    jax.block_until_ready(compiled_advance(plan, schedule.chunk, oracle.params, queue, finished))


def trace_counts(query_budget: int) -> tuple[int, ...]:
    """The query counts of a trace: about 25, evenly spaced in their logarithm, the budget last."""
    return tuple(int(count) for count in np.unique(np.geomspace(1, query_budget, 25).round()))


def _data(attack: Attack, oracle: Oracle, queue: Queue) -> tuple[Array, ...]:
    """The arrays that tell one run from another: the queue, the victim, and the first step the attack asks for."""
    step = _first_step(attack, queue.streams[0], queue.images[0], queue.starts[0])
    given = (queue.images, queue.starts, queue.settled, queue.labels, queue.streams)
    return (*given, step, *jax.tree.leaves(oracle.params))


@partial(jax.jit, static_argnums=0)
def _first_step(attack: Attack, key, image, start):
    """Compiled as one: operation by operation it would take longer to compile than the run."""
    return attack.ask(key, attack.init(key, image, start)).images


def check_stopping(attack: Attack, stopping: StoppingRule) -> None:
    """Raise ValueError for a stopping rule where no image leaves before its budget is spent."""
    if attack.minimizes and stopping != FIRST_SUCCESS:
        allowed = "first-success where an attack lowers its distance (epsilon inf)"
        raise ValueError(f"stopping must be {allowed}, got {str(stopping)!r}")
