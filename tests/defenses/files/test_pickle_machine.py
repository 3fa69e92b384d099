"""The pickle machine by itself: what states, keys and strings become, and how its work is bounded."""

import io
import pickle
import struct
import time
from dataclasses import dataclass
from typing import Any

import pytest

from defenses.files import pickle_machine
from tests.defenses.files.torch_files import called, pickled, plain

BOX = b"cshop\nBox\n)R"


@dataclass
class Box:
    """What the global shop.Box makes; Python's own reader would call its `__setstate__`."""

    content: object = None

    def __setstate__(self, state):
        raise AssertionError("only the functions that the machine is given may see a state")


class Parcel(Box):
    pass


def fill(box, state):
    box.content = state


def read(opcodes, states=None) -> Any:
    allowed = {("shop", "Box"): Box, ("shop", "Parcel"): Parcel, ("shop", "Name"): "Name"}
    return pickle_machine.load(io.BytesIO(pickled(opcodes)), allowed, states=states)


def test_a_state_goes_to_the_function_of_its_type():
    assert read(BOX + plain([1, "a"]) + b"b", {Box: fill}) == Box([1, "a"])


def test_a_state_changes_what_was_memoised_before_it():
    boxes = read(b"](" + BOX + b"q\x00" + plain(7) + b"bh\x00e", {Box: fill})
    assert boxes == [Box(7), Box(7)]
    assert boxes[0] is boxes[1]


@pytest.mark.parametrize("states", [None, {}, {Parcel: fill}, {object: fill}])
def test_a_state_for_which_there_is_no_function_is_refused(states):
    with pytest.raises(ValueError, match="gives a state to what has none"):
        read(BOX + plain({"content": 1}) + b"b", states)


@pytest.mark.parametrize(
    "target", [b"cshop\nBox\n", b"cshop\nName\n", b"cshop\nParcel\n)R", b"]", b")", b"N", b"K\x01"]
)
def test_only_what_is_of_the_very_type_has_a_state(target):
    with pytest.raises(ValueError, match="gives a state to what has none"):
        read(target + plain((None, {"content": 1})) + b"b", {Box: fill})


def test_the_state_of_a_dictionary_is_dropped():
    assert read(b"}" + plain("a") + plain(1) + b"s" + plain({"b": 2}) + b"b") == {"a": 1}


def test_a_state_without_a_target_is_refused():
    with pytest.raises(ValueError, match="makes no sense"):
        read(plain(1) + b"b", {Box: fill})


@pytest.mark.parametrize("key", ["data", b"data", "é", 3, -(2**63), "k" * 1000])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_keys_are_what_python_reads(key, protocol):
    content = pickle.dumps({key: 1}, protocol)
    codec = {("_codecs", "encode"): lambda text, encoding: text.encode(encoding)}
    got = pickle_machine.load(io.BytesIO(content), codec)
    assert got == pickle.loads(content) == {key: 1}


@pytest.mark.parametrize("key", ["k" * 1001, b"k" * 1001, 2**63, 1.5, True, None, ("a",)])
def test_keys_that_cost_more_are_refused(key):
    with pytest.raises(ValueError, match=f"a key of type {type(key).__name__}: only str, bytes.* and 64-bit int"):
        pickle_machine.load(io.BytesIO(pickle.dumps({key: 1}, 4)), {})


@pytest.mark.parametrize("opcode", [b"U\x04", b"T" + struct.pack("<i", 4)])
def test_strings_of_python_2_are_latin_1(opcode):
    assert read(opcode + b"\x00a\x80\xff") == "\x00a\x80\xff"


def test_long_keys_that_are_equal_are_refused_before_they_are_compared():
    """Two of them in one dictionary: each of a thousand three-byte items would compare 30 MB."""
    long = b"X" + struct.pack("<I", 30_000_000) + b"k" * 30_000_000
    items = long + b"N" + long + b"q\x00N" + b"h\x00N" * 1000
    start = time.process_time()
    with pytest.raises(ValueError, match="a key of type str"):
        read(b"}(" + items + b"u")
    assert time.process_time() - start < 1


def test_an_error_of_a_stand_in_is_a_refusal():
    with pytest.raises(ValueError, match=r"makes no sense \(TypeError: .*positional argument"):
        read(called("shop Box", plain(1), plain(2)))
