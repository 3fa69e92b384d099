"""What the engine's loop carries: the queue, the slots with the images in progress, what came of each, and the plan."""

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, Key

from sims.attacks.attack import Attack, Queries
from sims.engine.stopping import StoppingRule, Votes
from sims.victims.oracle import Answer, Oracle

RUNNING, FOOLED, EXHAUSTED, NON_FINITE, GAVE_UP = range(5)
STATUS = ("running", "fooled", "budget exhausted", "non-finite answer", "gave up")


class Queue(NamedTuple):
    """The images to attack: images (n, h, w, c), labels (n, ...), streams (n,) one key per image, starts like images.

    A start may be adversarial (attacks that walk in from one begin there); where none is known it is the clean image.
    settled: (n,) bool, images that are not attacked at all: nothing is asked for them.
    """

    images: Float[Array, "n h w c"]
    labels: Int[Array, "n ..."]
    streams: Key[Array, " n"]
    starts: Float[Array, "n h w c"]
    settled: Bool[Array, " n"]


class Slots(NamedTuple):
    """The images in progress, one per slot.

    position: (slots,) place in the queue, n when empty. steps, spent: (slots,) asks made, rows evaluated.
    status: (slots,) RUNNING, or why the image is about to leave. asking: (slots,) bool, the slot asks next.
    attack: the attack's states, stacked. votes: the vote on each candidate that a stopping rule re-evaluates.
    trace: (slots, points) the attack's value after each of the plan's query counts, inf while unknown.
    queries, answers: what was asked last, and the answers so far where `answered` (slots, width).
    """

    position: Int[Array, " slots"]
    steps: Int[Array, " slots"]
    spent: Int[Array, " slots"]
    status: Int[Array, " slots"]
    asking: Bool[Array, " slots"]
    attack: Any
    votes: Votes
    trace: Float[Array, "slots points"]
    queries: Queries
    answers: Answer
    answered: Bool[Array, "slots width"]


class Outcome(NamedTuple):
    """Per image of the queue: its last candidate, the rows it cost, its status (see `STATUS`), and its trace."""

    images: Float[Array, "n h w c"]
    queries: Int[Array, " n"]
    status: Int[Array, " n"]
    trace: Float[Array, "n points"]


class Rows(NamedTuple):
    """Rows forwarded since the last return to the host: evaluated for an image, or only to fill a tile."""

    evaluated: Int[Array, ""]
    padded: Int[Array, ""]


class EngineState(NamedTuple):
    """What one chunk hands to the next; `waiting` is the position of the next image without a slot."""

    slots: Slots
    waiting: Int[Array, ""]
    outcome: Outcome
    rows: Rows


class RunPlan(NamedTuple):
    """The static half of a run: the attack, the oracle's functions, when an image leaves, the layout of the rows.

    trace_at: query counts, ascending, after which the attack's value is written down.
    """

    attack: Attack
    oracle: Oracle
    stopping: StoppingRule
    query_budget: int
    trace_at: tuple[int, ...]
    rows: int
    tile: int
    slots: int
