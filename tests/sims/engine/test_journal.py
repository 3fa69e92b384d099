"""The journal of replies: what a kill tears is asked again, and damage is never passed over in silence."""

import numpy as np
import pytest

from sims.engine.journal import append_reply, read_journal

MARK = "ab" * 32


def journal_of(path, count):
    for i in range(count):
        append_reply(path, MARK, f"{i:064}", np.full((2, 3), i, np.float32))
    return path.read_bytes()


def test_a_journal_survives_a_cut_at_any_byte(tmp_path):
    path = tmp_path / "journal"
    data, known = journal_of(path, 2), 0
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        replies = read_journal(path, MARK)
        assert list(replies) == [f"{i:064}" for i in range(len(replies))]
        assert all((reply == i).all() for i, reply in enumerate(replies.values()))
        assert len(replies) >= known
        known = len(replies)
        append_reply(path, MARK, "f" * 64, np.arange(4, dtype=np.int32))  # goes on where the whole records end
        assert read_journal(path, MARK)["f" * 64].tolist() == [0, 1, 2, 3]
    assert known == 2


def test_a_damaged_or_foreign_journal_is_refused(tmp_path):
    path = tmp_path / "journal"
    data = journal_of(path, 3)
    path.write_bytes(data[:150] + bytes([data[150] ^ 1]) + data[151:])
    with pytest.raises(ValueError, match=r"journal .* is damaged at byte 64"):
        read_journal(path, MARK)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert len(read_journal(path, MARK)) == 2
    with pytest.raises(ValueError, match=r"journal .* belongs to another run"):
        read_journal(path, "cd" * 32)


def test_no_damage_before_the_last_record_passes_unseen(tmp_path):
    path = tmp_path / "journal"
    journal_of(path, 2)
    head = path.stat().st_size + 16  # the whole records, and the head of the last one
    data = journal_of(path, 1)
    for i in range(len(data)):
        damaged = data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]
        path.write_bytes(damaged)
        if i < head:
            with pytest.raises(ValueError, match=r"journal .* (is damaged at byte|belongs to another run)"):
                read_journal(path, MARK)
            assert path.read_bytes() == damaged
        else:
            assert len(read_journal(path, MARK)) == 2
