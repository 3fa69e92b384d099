"""The engine's loop for a victim on the host: one call for all rows that wait, every reply counted once.

The compiled half (`turn`) hands out replies, lets images leave and enter, and asks; between two turns the host sends
exactly the rows that wait, never padding, at most the schedule's rows. Where a victim or a journal asks for it, each
call has a name, a function of the run's mark, the rows answered before it, and the rows themselves: a call that is
repeated after an interruption has the name it had, and a victim that remembers names need not count it twice.

With a checkpoint every reply goes to a journal (`sims.engine.journal`) before it is used, and the state is saved every
so many calls. A run that was interrupted anywhere loads the state, takes the replies of the journal as the victim's,
and asks on from there: at most the one call that was in flight is sent a second time.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped

from defenses.model import say_of_probabilities
from sims.engine.checkpoint import fingerprint, save_state
from sims.engine.journal import append_reply, read_journal
from sims.engine.slots import ask, defense_keys, refill, tell, waiting_rows, with_answers
from sims.engine.state import RUNNING, EngineState, Queue, RunPlan, Slots
from sims.victims.host import HostOracle, PlainVictim, no_replies, read_replies


def run_on_host(
    plan: RunPlan,
    oracle: HostOracle,
    queue: Queue,
    state: EngineState,
    totals: np.ndarray,
    chunk: int,
    mark: str,
    checkpoint: Path | None,
    on_chunk: Callable[[int, int], None],
) -> tuple[EngineState, np.ndarray]:
    """Go on from `state` until every image has left; the state then, and totals (rows evaluated, 0 padded).

    chunk: calls between two saved states. Raises ValueError for a journal that is damaged or of another run, or for a
    reply of the wrong form, and passes on whatever the victim raises; in every case the same run can be resumed.
    """
    journal = None if checkpoint is None else checkpoint.with_name(checkpoint.name + ".journal")
    call = _journaled(oracle, mark, journal)

    def save() -> None:
        if checkpoint is not None and journal is not None:
            save_state(checkpoint, state, totals, mark)
            journal.unlink(missing_ok=True)
        on_chunk(int(np.sum(np.asarray(state.outcome.status) != RUNNING)), int(totals[0]))

    places, at_most = plan.slots * plan.attack.width, max(1, plan.rows // oracle.repeats)
    state, waiting = compiled_turn(plan, queue, state, no_replies(oracle, places), np.zeros(places, bool))
    calls = 0
    while (chosen := np.flatnonzero(waiting)[:at_most]).size:
        reply, fresh = call(totals, np.repeat(_queries(state, chosen), oracle.repeats, 0))
        state, waiting = compiled_turn(plan, queue, state, *_placed(oracle, places, chosen, reply))
        totals, calls = totals + np.array([len(reply), 0]), calls + 1
        if fresh and calls >= chunk:  # while replies are replayed the journal holds more than the state knows
            save()
            calls = 0
    save()
    return state, totals


def _journaled(oracle: HostOracle, mark: str, journal: Path | None):
    """The victim as (totals, images) -> its replies, and whether they came now or from the journal."""
    known = {} if journal is None else read_journal(journal, mark)
    named = journal is not None or not isinstance(oracle.victim, PlainVictim)  # a name costs as much as the engine

    def call(totals: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, bool]:
        request = fingerprint(mark, totals, images) if named else ""
        if request in known:
            return known[request], False
        reply = read_replies(oracle, oracle.victim(images, request), len(images))
        if totals[0] == 0 and oracle.feedback != "label":  # the first call of a run
            say_of_probabilities(oracle.name, reply)
        if journal is not None:
            append_reply(journal, mark, request, reply)
        return reply, True

    return call


def _queries(state: EngineState, chosen: np.ndarray) -> np.ndarray:
    """The images of the queries at those places, (n, h, w, c) float32: a copy, since a turn uses up its state."""
    images = np.asarray(state.slots.queries.images)
    return images.reshape(-1, *images.shape[2:])[chosen]


def _placed(oracle: HostOracle, places: int, chosen: np.ndarray, reply: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The replies at the places of their queries, and the mask of those places."""
    replies, done = no_replies(oracle, places), np.zeros(places, bool)
    replies.reshape(places, oracle.repeats, -1)[chosen] = reply.reshape(len(chosen), oracle.repeats, -1)
    done[chosen] = True
    return replies, done


def turn(
    plan: RunPlan,
    queue: Queue,
    state: EngineState,
    replies: Shaped[Array, "replies ..."],
    done: Bool[Array, " places"],
) -> tuple[EngineState, Bool[Array, "slots width"]]:
    """Tell the slots the replies to their queries `done`, and let all that may ask; which queries wait then.

    None waits when, and only when, every image has left. Without replies it changes nothing but an unstarted state.
    """
    slots = tell(plan, queue, _with_replies(plan, queue, state.slots, replies, done))

    def leave_enter_and_ask(carry):
        state = jax.lax.cond(
            _has_gaps(queue, carry[0]), lambda state: refill(plan, queue, state), lambda s: s, carry[0]
        )
        slots = ask(plan, queue, state.slots)
        slots = slots._replace(asking=jnp.zeros_like(slots.asking))
        return state._replace(slots=slots), jnp.any(slots.status != RUNNING)

    begin = (state._replace(slots=slots), jnp.array(True))
    state, _ = jax.lax.while_loop(lambda carry: carry[1], leave_enter_and_ask, begin)
    return state, waiting_rows(queue, state.slots)


def _has_gaps(queue: Queue, state: EngineState) -> Bool[Array, ""]:
    """Whether an image is about to leave, or one that waits finds an empty slot."""
    empty = (state.slots.position >= len(queue.images)) & (state.waiting < len(queue.images))
    return jnp.any((state.slots.status != RUNNING) | empty)


def _with_replies(plan: RunPlan, queue: Queue, slots: Slots, replies, done: Bool[Array, " places"]) -> Slots:
    count, width = slots.answered.shape
    done = done.reshape(count, width)
    keys, images = (a.reshape(-1, *a.shape[2:]) for a in (defense_keys(plan, queue, slots), slots.queries.images))
    answers = plan.oracle.query(replies, keys, images, jnp.repeat(queue.labels[slots.position], width))

    def new_where_done(new, old):
        return jnp.where(done.reshape(count, width, *(1,) * (old.ndim - 2)), new.reshape(old.shape), old)

    return with_answers(plan, slots, jax.tree.map(new_where_done, answers, slots.answers), done)


compiled_turn: Callable[..., tuple[EngineState, Array]] = jax.jit(turn, static_argnums=0, donate_argnums=2)
"""The state that it is given is used up: its memory becomes the result's."""
