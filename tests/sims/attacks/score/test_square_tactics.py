"""What the tactics of Square take besides lower losses, on losses that rise with every step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, read_attack
from sims.victims.oracle import Answer

IMAGE = jnp.full((8, 8, 3), 0.5)
THREAT = Threat("linf", 0.1, 200)
FREE = "patience=0,explore=0"


def taken(text, losses, threat=THREAT, on_top=False):
    """Which candidates become the incumbent when their losses are these, or so much more than the incumbent's."""
    attack = build_attack(read_attack(text), threat)
    state, steps = attack.init(jax.random.key(0), IMAGE, IMAGE), []
    for i, loss in enumerate(losses):
        queries = attack.ask(jax.random.key(i), state)
        loss = float(attack.report(state).value) + loss if on_top and i else loss
        answer = Answer(jnp.full(1, loss, jnp.float32), jnp.array([False]))
        state = attack.tell(state, queries, answer)
        steps.append(bool(attack.report(state).value == jnp.float32(loss)))
    return np.array(steps)


def test_without_tactics_it_is_square():
    plain = build_attack(read_attack("square"), THREAT)
    bare = build_attack(read_attack(f"square-tactics:{FREE}"), THREAT)
    states = [one.init(key, IMAGE, IMAGE) for one, key in ((plain, jax.random.key(0)), (bare, jax.random.key(0)))]
    for i, loss in enumerate([3.0, 2.0, 4.0, 1.0]):
        keys = jax.random.key(i)
        states[1] = states[1]._replace(square=states[0])  # the random start has a key of its own
        queries = [plain.ask(keys, states[0]), bare.ask(keys, states[1])]
        np.testing.assert_array_equal(queries[0].images, queries[1].images)
        answer = Answer(jnp.full(1, loss, jnp.float32), jnp.array([False]))
        states = [plain.tell(states[0], queries[0], answer), bare.tell(states[1], queries[1], answer)]
        for want, got in zip(jax.tree.leaves(states[0]), jax.tree.leaves(states[1].square), strict=True):
            np.testing.assert_array_equal(want, got)


def test_rising_losses_are_taken_after_a_stall_and_never_without_patience():
    rising = np.arange(1.0, 14.0)
    assert taken(f"square-tactics:{FREE}", rising).tolist() == [True] + 12 * [False]
    found = taken("square-tactics:patience=3,explore=0", rising)
    assert found.tolist() == [i % 4 == 0 for i in range(13)]  # three refusals, then one that rises


def test_after_a_stall_equal_losses_are_not_taken():
    attack = build_attack(read_attack("square-tactics:patience=2,explore=0"), THREAT)
    state = attack.init(jax.random.key(0), IMAGE, IMAGE)
    for i in range(6):
        queries = attack.ask(jax.random.key(i), state)
        state = attack.tell(state, queries, Answer(jnp.ones(1), jnp.array([False])))
    assert state.stalled == 5


def test_exploring_takes_its_share():
    rising = np.arange(1.0, 401.0)
    found = taken("square-tactics:patience=0,explore=0.3", rising, Threat("linf", 0.1, 400))
    assert abs(found[1:].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 399)
    assert taken("square-tactics:patience=0,explore=1", rising[:20]).all()


def test_annealing_takes_the_rarer_the_later_and_the_more_it_rises():
    """A rise of 1 at temperature 2, of which 1 − i/400 is left, has probability exp(−1/(2 − i/200)); 40 hardly any."""
    text, threat = "square-tactics:patience=0,explore=0,temperature=2", Threat("linf", 0.1, 400)
    found = taken(text, np.ones(400), threat, on_top=True)
    expected = np.exp(-1 / (2 - np.arange(400) / 200))
    for part in (slice(1, 200), slice(200, 400)):
        spread = np.sqrt((expected * (1 - expected))[part].mean() / 200)
        assert abs(found[part].mean() - expected[part].mean()) < 4 * spread
    assert not taken(text, np.full(60, 40.0), threat, on_top=True)[1:].any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("square-tactics:explore=1.5", r"explore must be in \[0, 1\], got 1.5"),
        ("square-tactics:patience=-1", "patience must be >= 0, got -1"),
        ("square-tactics:temperature=inf", "temperature must be >= 0 and finite, got inf"),
    ],
)
def test_settings_out_of_range(text, words):
    with pytest.raises(ValueError, match=words):
        read_attack(text)
