"""Calls in turn: every one once to compile, then once a round, in their order."""

from sims.measurements.timing import in_turn


def test_every_round_calls_all_in_their_order():
    seen, told = [], []
    calls = [lambda: seen.append("a"), lambda: seen.append("b")]
    seconds = in_turn(calls, 3, lambda done, total: told.append((done, total)))
    assert "".join(seen) == "ab" * 4
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert seconds.shape == (3, 2)
    assert (seconds >= 0).all()
