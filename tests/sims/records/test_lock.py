"""The lock of a record: one process at a time, and none after a kill."""

import multiprocessing
import time

import pytest

from sims.records.lock import alone, is_running


def hold(folder, held):
    with alone(folder):
        held.set()
        time.sleep(60)


def test_another_process_is_refused_in_one_line_until_the_first_is_gone(tmp_path):
    folder, spawn = tmp_path / "attack" / "abc", multiprocessing.get_context("spawn")
    held = spawn.Event()
    process = spawn.Process(target=hold, args=(folder, held))
    process.start()
    assert held.wait(60)
    assert is_running(folder)
    with (
        pytest.raises(ValueError, match=f"^out must .* {folder} is being computed by another process; wait"),
        alone(folder),
    ):
        pytest.fail("two at once")
    process.kill()  # as any end of a process
    process.join()
    assert not is_running(folder)
    with alone(folder):
        assert is_running(folder)
    assert not list(tmp_path.iterdir())


def test_an_error_inside_sets_it_free(tmp_path):
    with pytest.raises(RuntimeError), alone(tmp_path / "abc"):
        raise RuntimeError
    assert not is_running(tmp_path / "abc")
