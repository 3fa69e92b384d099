"""The engine's inner loop, inside jit: slots ask, wait, are told, leave and are refilled.

Every iteration forwards the rows the slots wait for (`tiles`), tells each slot whose rows are all answered, and lets
it ask again. As soon as an image has left, its slot goes to the next in the queue.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree

from sims.attacks.attack import Attack, Queries
from sims.engine.state import (
    EXHAUSTED,
    FOOLED,
    GAVE_UP,
    NON_FINITE,
    RUNNING,
    EngineState,
    Outcome,
    Queue,
    Rows,
    RunPlan,
    Slots,
)
from sims.engine.stopping import cast, no_votes
from sims.engine.tiles import answer_rows, rows_to_forward
from sims.victims.oracle import Answer, known

NARROW = 4  # rows a step may ask for and still be made, and read, for all slots at once
INIT_STREAM, ATTACK_STREAM, DEFENSE_STREAM = range(3)


def start(plan: RunPlan, params: PyTree, queue: Queue) -> EngineState:
    """Empty slots in front of the whole queue."""
    count, shape, width = len(queue.images), queue.images.shape[1:], plan.attack.width
    state = jax.eval_shape(plan.attack.init, queue.streams[0], queue.images[0], queue.starts[0])
    keys = jax.eval_shape(lambda key: plan.oracle.draw(key, width), queue.streams[0])
    rows = jax.ShapeDtypeStruct((width, *shape), jnp.float32)
    labels = jax.ShapeDtypeStruct((width, *queue.labels.shape[1:]), jnp.int32)
    answer = jax.eval_shape(plan.oracle.query, params, keys, rows, labels)
    attack, answers = jax.tree.map(lambda a: jnp.zeros((plan.slots, *a.shape), a.dtype), (state, answer))
    none = jnp.zeros((plan.slots, width), bool)
    zeros = jnp.zeros(plan.slots, jnp.int32)
    queries = Queries(jnp.zeros((plan.slots, width, *shape)), none)
    votes, unknown = no_votes(plan.slots), jnp.full((plan.slots, len(plan.trace_at)), jnp.inf, jnp.float32)
    slots = Slots(zeros + count, zeros, zeros, zeros, zeros > 0, attack, votes, unknown, queries, answers, none)
    nothing = jnp.zeros(count, jnp.int32)
    outcome = Outcome(
        jnp.copy(queue.images), nothing, nothing, jnp.full((count, len(plan.trace_at)), jnp.inf, jnp.float32)
    )
    return EngineState(slots, jnp.int32(0), outcome, Rows(jnp.int32(0), jnp.int32(0)))


def advance(plan: RunPlan, chunk: int, params: PyTree, queue: Queue, state: EngineState) -> EngineState:
    """Run up to `chunk` iterations; results of images that left are in the outcome when it returns."""
    plan = plan._replace(oracle=plan.oracle._replace(params=params))
    count = len(queue.images)

    def in_progress(slots):
        return jnp.any(slots.position < count)

    def undisturbed(carry):
        slots, _, iterations = carry
        return in_progress(slots) & ~jnp.any(slots.status != RUNNING) & (iterations < chunk)

    def iterate(carry):
        slots, rows, iterations = carry
        return *_iterate(plan, queue, slots, rows), iterations + 1

    def unfinished(carry):
        state, iterations = carry
        left = in_progress(state.slots) | (state.waiting < count)
        return left & (iterations < chunk) | jnp.any(state.slots.status != RUNNING)

    def refill_then_iterate(carry):
        state, iterations = carry
        state = refill(plan, queue, state)
        slots, rows, iterations = jax.lax.while_loop(undisturbed, iterate, (state.slots, state.rows, iterations))
        return state._replace(slots=slots, rows=rows), iterations

    state = state._replace(rows=Rows(jnp.int32(0), jnp.int32(0)))
    return jax.lax.while_loop(unfinished, refill_then_iterate, (state, jnp.int32(0)))[0]


def _iterate(plan: RunPlan, queue: Queue, slots: Slots, rows: Rows) -> tuple[Slots, Rows]:
    """Let the slots ask that may, forward waiting rows, and tell the slots whose rows are all answered."""
    slots, rows = _answer(plan, queue, ask(plan, queue, slots), rows)
    return tell(plan, queue, slots), rows


def waiting_rows(queue: Queue, slots: Slots) -> Bool[Array, "slots width"]:
    """The rows that are asked for and not answered."""
    return slots.queries.needed & ~slots.answered & _in_progress(queue, slots)[:, None]


def with_answers(plan: RunPlan, slots: Slots, answers: Answer, done: Bool[Array, "slots width"]) -> Slots:
    """The slots with these answers to the rows `done`, which cost what the oracle's rows cost."""
    spent = slots.spent + plan.oracle.rows_per_query * jnp.sum(done, axis=1)
    return slots._replace(answers=answers, answered=slots.answered | done, spent=spent)


def defense_keys(plan: RunPlan, queue: Queue, slots: Slots) -> Key[Array, "slots width"]:
    """The defence's randomness for every row of the slots' present step."""
    width = slots.answered.shape[1]
    return jax.vmap(lambda key: plan.oracle.draw(key, width))(_step_keys(queue, slots, DEFENSE_STREAM))


def _answer(plan: RunPlan, queue: Queue, slots: Slots, rows: Rows) -> tuple[Slots, Rows]:
    oracle, (count, width) = plan.oracle, slots.answered.shape
    waiting = _flatten(waiting_rows(queue, slots))
    take = rows_to_forward(waiting, plan.tile, plan.rows)
    answers, done, padding = answer_rows(
        oracle,
        plan.tile,
        _flatten(defense_keys(plan, queue, slots)),
        _flatten(slots.queries.images),
        jnp.repeat(queue.labels[slots.position], width, axis=0),
        waiting,
        take,
        jax.tree.map(_flatten, slots.answers),
    )
    answers = jax.tree.map(lambda a: a.reshape(count, width, *a.shape[1:]), answers)
    rows = Rows(rows.evaluated + oracle.rows_per_query * take, rows.padded + oracle.rows_per_query * padding)
    return with_answers(plan, slots, answers, done.reshape(count, width)), rows


def tell(plan: RunPlan, queue: Queue, slots: Slots) -> Slots:
    """Tell the slots whose rows are all answered; a fooled one leaves, or is put to the vote of the stopping rule."""
    complete = _in_progress(queue, slots) & jnp.all(slots.answered | ~slots.queries.needed, axis=1)
    failed = complete & jnp.any(slots.answered & ~known(slots.answers), axis=1)
    heard = complete & ~failed & ~slots.votes.open
    attack = _told(plan, heard, slots)
    report = jax.vmap(plan.attack.report)(attack)
    candidate = heard & report.success & _leaves(plan)
    votes, accepted = cast(plan.stopping, slots.votes, candidate, complete & ~failed, slots.answers.fooled[:, 0])
    passed = heard[:, None] & (jnp.array(plan.trace_at) >= slots.spent[:, None])
    status = jnp.where(failed, NON_FINITE, jnp.where(accepted, FOOLED, slots.status))
    return slots._replace(
        attack=attack,
        votes=votes,
        trace=jnp.where(passed, report.value[:, None], slots.trace),
        status=status,
        asking=complete & (status == RUNNING),
    )


def ask(plan: RunPlan, queue: Queue, slots: Slots) -> Slots:
    """The next queries of the slots that ask; a step the budget cannot pay for, or an empty one, ends the image.

    An image that ends so was fooled where no image leaves before and the attack has found an adversarial one.
    """
    queries = _asked(plan, _step_keys(queue, slots, ATTACK_STREAM), slots)
    queries = queries._replace(needed=queries.needed & ~queue.settled[slots.position][:, None])
    cost = plan.oracle.rows_per_query * jnp.sum(queries.needed, axis=1)
    ended = jnp.where(slots.spent + cost > plan.query_budget, EXHAUSTED, RUNNING)
    ended = jnp.where(cost == 0, GAVE_UP, ended)
    if not _leaves(plan):
        found = jax.vmap(plan.attack.report)(slots.attack).success
        ended = jnp.where(found & (ended != RUNNING), FOOLED, ended)
    return slots._replace(
        steps=slots.steps + slots.asking,
        status=jnp.where(slots.asking, ended, slots.status),
        queries=queries,
        answered=slots.answered & ~slots.asking[:, None],
    )


def _told(plan: RunPlan, heard: Bool[Array, " slots"], slots: Slots) -> Any:
    """The states of the attack, of the slots that are heard with their answers; a wide step is read for these alone."""
    if plan.attack.width <= NARROW:
        return _select(heard, jax.vmap(plan.attack.tell)(slots.attack, slots.queries, slots.answers), slots.attack)

    def one(slot):
        hears, state, queries, answers = slot
        return jax.lax.cond(hears, plan.attack.tell, lambda state, *_: state, state, queries, answers)

    return jax.lax.map(one, (heard, slots.attack, slots.queries, slots.answers))


def _leaves(plan: RunPlan) -> bool:
    """Whether an image leaves as soon as it has fooled the victim: not where its distance is lowered to the end."""
    return plan.stopping.leaves and not plan.attack.minimizes


def _asked(plan: RunPlan, keys: Key[Array, " slots"], slots: Slots) -> Queries:
    """The next step of the slots that ask, or the candidate that is voted on once more; others keep their queries."""
    asked = _next_step(plan, keys, slots)
    if not plan.stopping.draws:
        return asked
    first = jnp.arange(plan.attack.width) == 0
    again = jax.vmap(lambda state: Queries(_first_row(plan.attack, state), first))(slots.attack)
    return _select(slots.asking & slots.votes.open, again, asked)


def _first_row(attack: Attack, state: Any) -> Float[Array, "width h w c"]:
    image = attack.report(state).image
    return jnp.zeros((attack.width, *image.shape)).at[0].set(image)


def _next_step(plan: RunPlan, keys: Key[Array, " slots"], slots: Slots) -> Queries:
    """The attack's next step; where it is wide, and so costly to make and to move, only that of slots that ask."""
    stepping = slots.asking & ~slots.votes.open
    if plan.attack.width <= NARROW:
        return _select(stepping, jax.vmap(plan.attack.ask)(keys, slots.attack), slots.queries)

    def fill(i, queries):
        def asked():
            step = plan.attack.ask(keys[i], jax.tree.map(lambda all: all[i], slots.attack))
            return jax.tree.map(lambda all, mine: all.at[i].set(mine), queries, step)

        return jax.lax.cond(stepping[i], asked, lambda: queries)

    return jax.lax.fori_loop(0, len(stepping), fill, slots.queries)


def refill(plan: RunPlan, queue: Queue, state: EngineState) -> EngineState:
    """Write down the images that leave and give every free slot to the next in the queue."""
    slots, outcome, count = state.slots, state.outcome, len(queue.images)
    leaving = slots.status != RUNNING
    place = jnp.where(leaving, slots.position, count)
    leavers = Outcome(jax.vmap(plan.attack.report)(slots.attack).image, slots.spent, slots.status, slots.trace)
    outcome = jax.tree.map(lambda all, mine: all.at[place].set(mine, mode="drop"), outcome, leavers)
    free = leaving | (slots.position >= count)
    offered = jnp.minimum(state.waiting + jnp.cumsum(free) - 1, count)
    position = jnp.where(free, offered, slots.position)
    entering = free & (position < count)
    keys = jax.vmap(lambda key: jax.random.fold_in(key, INIT_STREAM))(queue.streams[position])
    fresh = jax.vmap(plan.attack.init)(keys, queue.images[position], queue.starts[position])
    slots = slots._replace(
        position=position,
        steps=jnp.where(free, 0, slots.steps),
        spent=jnp.where(free, 0, slots.spent),
        status=jnp.where(free, RUNNING, slots.status),
        asking=jnp.where(free, entering, slots.asking),
        attack=_select(entering, fresh, slots.attack),
        votes=_select(free, no_votes(plan.slots), slots.votes),
        trace=jnp.where(free[:, None], jnp.inf, slots.trace),
    )
    return EngineState(slots, state.waiting + jnp.sum(entering), outcome, state.rows)


def _in_progress(queue: Queue, slots: Slots) -> Bool[Array, " slots"]:
    return (slots.position < len(queue.images)) & (slots.status == RUNNING)


def _step_keys(queue: Queue, slots: Slots, stream: int) -> Key[Array, " slots"]:
    def key_of(key, step):
        return jax.random.fold_in(jax.random.fold_in(key, stream), step)

    return jax.vmap(key_of)(queue.streams[slots.position], slots.steps)


def _flatten(rows: Array) -> Array:
    return rows.reshape(-1, *rows.shape[2:])


def _select(mask: Bool[Array, " slots"], chosen: PyTree, other: PyTree) -> PyTree:
    def pick(a, b):
        return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, chosen, other)


compiled_advance: Callable[..., EngineState] = jax.jit(advance, static_argnums=(0, 1), donate_argnums=4)
"""The state that it is given is used up: its memory becomes the result's."""
compiled_start: Callable[..., EngineState] = jax.jit(start, static_argnums=0)
