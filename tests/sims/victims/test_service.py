"""Victims behind HTTP: time-outs, retries, services and clients that die, and bodies that are no answer."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from sims.engine.run import Schedule, run_attack
from sims.victims.host import HostOracle, plain_victim
from sims.victims.service import Service, ServiceError, npy, service_victim
from tests.sims.engine.walk import CLASSES, scores, walk
from tests.sims.small_victims import images
from tests.sims.victims.reference_server import Memory, Server

COUNT, BUDGET, ROWS = 40, 21, 16
IMAGES, IDS, WALK = images(COUNT), np.arange(COUNT), walk()
LABELS = scores(IMAGES).argmax(axis=1)


def patient(url: str, **settings) -> Service:
    return Service(url, **{"timeout": 5.0, "retries": 3, "backoff": 0.0} | settings)


def run(victim, checkpoint: Path | None = None, chunk: int = 5):
    oracle = HostOracle("service", WALK.feedback, victim, CLASSES)
    schedule = Schedule(BUDGET, ROWS, 8, chunk)
    return run_attack(jax.random.key(3), WALK, oracle, IMAGES, LABELS, IDS, schedule, checkpoint)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("images", "queries", "status"))


@pytest.fixture(scope="module")
def expected():
    """The run with the same victim in this process."""
    return run(plain_victim(scores))


@pytest.fixture
def slept(monkeypatch):
    """The seconds that retries wait, which pass at once."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def ask_once(server: Server, **settings) -> np.ndarray:
    return service_victim(patient(server.url, **settings))(IMAGES[:5], "ab" * 32)


def test_a_service_is_attacked_like_a_function(expected):
    with Server(scores) as server:
        assert same(run(service_victim(patient(server.url))), expected)
    assert server.memory.rows == expected.queries.sum() == expected.evaluated
    assert len(server.memory.keys) == len(set(server.memory.keys))


def slow(handler, moment):
    """The answer is worked out, and comes after the client's patience has ended."""
    if moment == "after":
        threading.Event().wait(0.6)
        handler.hang_up()
    return moment == "after"


def busy(handler, moment):
    handler.reply(503, Retry_After="7")
    return True


def limited(handler, moment):
    handler.reply(429)
    return True


def lost(handler, moment):
    """The connection breaks before the request is looked at."""
    handler.hang_up()
    return True


def lost_answer(handler, moment):
    """The connection breaks when all is counted."""
    if moment == "after":
        handler.hang_up()
    return moment == "after"


def half(handler, moment):
    if moment == "after":
        handler.reply(200, b"\x93NUMPY", promised=1000)
        handler.hang_up()
    return moment == "after"


FAULTS = {fault.__name__: fault for fault in (busy, limited, lost, lost_answer, half)}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_what_goes_wrong_for_a_moment_is_tried_again_and_counted_once(expected, slept, fault):
    with Server(scores, faults={2: fault, 5: fault, 6: fault}) as server:
        assert same(run(service_victim(patient(server.url))), expected)
    keys = server.memory.keys
    assert server.memory.rows == expected.queries.sum()
    assert keys[1] == keys[2]
    assert keys[4] == keys[5] == keys[6]
    assert len(keys) == len(set(keys)) + 3
    assert slept == ([7, 7, 7] if fault is busy else [])


def test_an_answer_that_comes_too_late_is_asked_for_again_and_counted_once(expected):
    with Server(scores, faults={2: slow}) as server:
        assert same(run(service_victim(patient(server.url, timeout=0.3, retries=20))), expected)
    keys = server.memory.keys
    assert server.memory.rows == expected.queries.sum()
    assert len(keys) > len(set(keys))


def test_waits_grow_by_powers_of_two_and_end_in_one_clear_error(slept):
    with Server(scores, faults=dict.fromkeys(range(1, 99), limited)) as server:
        with pytest.raises(ServiceError, match=rf"{server.url} did not answer: too many 429.*the same command resumes"):
            ask_once(server, retries=4, backoff=0.5)
        assert slept == [1, 2, 4]  # after a first retry at once
        assert len(server.memory.keys) == 5
        with pytest.raises(OSError, match=r"0 retries allowed"):
            ask_once(server, retries=0)
        assert len(server.memory.keys) == 6
    with pytest.raises(ServiceError, match=rf"{server.url} did not answer: .*refused"):
        ask_once(server)


def test_a_service_that_never_answers_is_given_up_after_its_timeout():
    with Server(scores, faults=dict.fromkeys(range(1, 99), slow)) as server:
        started = time.monotonic()
        with pytest.raises(ServiceError, match=r"did not answer: .*timed out"):
            ask_once(server, retries=1, timeout=0.05)
        assert 0.1 <= time.monotonic() - started < 5


@pytest.mark.parametrize("after_counting", [False, True])
@pytest.mark.parametrize("request_number", [2, 8, 11])
def test_a_service_that_dies_is_resumed_by_its_successor(tmp_path, expected, request_number, after_counting):
    path, memory = tmp_path / "state.npz", Memory()

    def die(handler, moment):
        if moment == ("after" if after_counting else "before"):
            handler.server.die()
            handler.hang_up()
            return True
        return False

    with Server(scores, memory, faults={request_number: die}) as server:
        with pytest.raises(ServiceError, match="the same command resumes"):
            run(service_victim(patient(server.url)), path)
        assert len(memory.keys) == request_number
    with Server(scores, memory, port=server.port) as successor:
        assert same(run(service_victim(patient(successor.url)), path), expected)
    assert memory.rows == expected.queries.sum()
    assert memory.keys[request_number] == memory.keys[request_number - 1]
    assert len(memory.keys) == len(set(memory.keys)) + 1


def _attack(url, path):
    run(service_victim(patient(url)), path)


def test_a_client_killed_between_question_and_answer_asks_that_once_more(tmp_path, expected):
    path, client = tmp_path / "state.npz", []

    def kill_the_client(handler, moment):
        if moment == "after":
            os.kill(client[0].pid, signal.SIGKILL)
        return False

    with Server(scores, faults={9: kill_the_client}) as server:
        client.append(multiprocessing.get_context("spawn").Process(target=_attack, args=(server.url, path)))
        client[0].start()
        client[0].join(120)
        assert client[0].exitcode == -signal.SIGKILL
        assert len(server.memory.keys) == 9
        assert same(run(service_victim(patient(server.url)), path), expected)
    assert server.memory.rows == expected.queries.sum()
    assert server.memory.keys[9] == server.memory.keys[8]
    assert len(server.memory.keys) == len(set(server.memory.keys)) + 1


def answers(status, body):
    def fault(handler, moment):
        handler.reply(status, body, Location="/elsewhere")
        return True

    return fault


def pickled():
    return npy(np.zeros((5, 4))).replace(b"'<f8'", b"'|O' ")


GARBAGE = {
    "html": b"<html>It works!</html>",
    "empty": b"",
    "cut": b"\x93NUMPY\x01\x00",
    "header": pickled()[:10] + b"{'descr" + bytes(110),
    "zip": b"PK\x03\x04" + bytes(60),
    "pickle": pickled(),
    "huge": pickled().replace(b"'|O' ", b"'<f8'").replace(b"(5, 4)", b"(9" + b"9" * 15 + b",)"),
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_body_that_is_no_array_is_named(body):
    with Server(scores, faults={1: answers(200, body)}) as server:
        with pytest.raises(ValueError, match=rf"{server.url} must answer with an npy array, got b"):
            ask_once(server)
        assert len(server.memory.keys) == 1


def test_an_array_of_the_wrong_shape_is_named():
    with Server(lambda rows: scores(rows)[:-1]) as server:
        with pytest.raises(ValueError, match=r"service must return float scores \(16, 4\), got float32 \(15, 4\)"):
            run(service_victim(patient(server.url)))
        assert len(server.memory.keys) == 1


@pytest.mark.parametrize("status", [302, 400, 404])
def test_a_refusal_is_not_tried_again(status):
    with Server(scores, faults={1: answers(status, b"")}) as server:
        with pytest.raises(ServiceError, match=rf"refused with {status}"):
            ask_once(server)
        assert len(server.memory.keys) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("url", "localhost:8000"),
        ("url", "ftp://host"),
        ("url", "http://"),
        ("url", "http://host:port"),
        ("timeout", 0.0),
        ("timeout", float("nan")),
        ("retries", -1),
        ("backoff", -0.5),
    ],
)
def test_bad_settings_are_named(setting, value):
    settings: dict[str, Any] = {"url": "http://localhost"} | {setting: value}
    with pytest.raises(ValueError, match=rf"{setting} must be .*{value}"):
        Service(**settings)
