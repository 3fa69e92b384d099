"""Pickled arrays of unsigned bytes: what numpy pickles is read as numpy reads it, and forged ones are refused."""

import pickle
import time
import tracemalloc

import numpy as np
import pytest

from defenses.files import numpy_pickle
from tests.defenses.files.torch_files import called, pickled, plain

SIX = np.arange(250, 256, dtype=np.uint8).reshape(2, 3)
TEXT = SIX.tobytes().decode("latin1")  # the string as which Python 3 reads the bytes that Python 2 wrote
PLAIN = (3, "|", None, None, None, -1, -1, 0)
EMPTY = called("numpy.core.multiarray _reconstruct", b"cnumpy\nndarray\n", plain((0,)), plain("b"))
DOUBLED = b")" + b"q\x00h\x00\x86" * 60  # a tuple in which 2**60 tuples can be counted


def dtype(code: object = "u1", state: object = PLAIN):
    return called("numpy dtype", opcodes(code), plain(0), plain(1)) + opcodes(state) + b"b"


def array(shape: object = (2, 3), of=b"", fortran=False, content: object = TEXT):
    return array_of(plain(1), plain(shape), of or dtype(), plain(fortran), plain(content))


def array_of(*parts):
    return EMPTY + b"(" + b"".join(parts) + b"tb"


def opcodes(value):
    return value if isinstance(value, bytes) else plain(value)


def load(content):
    found = numpy_pickle.load(content)
    assert isinstance(found, numpy_pickle.Array)
    return found


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("image", [SIX, SIX + 1, SIX[:1], SIX[:, ::2]])
def test_arrays_of_this_numpy_are_what_they_were(protocol, image):
    values = load(pickle.dumps(image, protocol)).values()
    np.testing.assert_array_equal(values, image)
    assert (values.dtype, values.shape) == (np.uint8, image.shape)
    assert not values.flags.writeable


def test_arrays_of_python_2_are_what_numpy_reads():
    by_python_2 = array().replace(plain(TEXT), b"U\x06" + SIX.tobytes())
    for content in (pickled(by_python_2), pickled(array())):
        np.testing.assert_array_equal(pickle.loads(content, encoding="latin1"), SIX)
        np.testing.assert_array_equal(load(content).values(), SIX)
    assert by_python_2 != array()


def test_arrays_that_share_their_dtype_and_content():
    content = pickle.dumps([SIX, SIX, SIX + 1], 2)
    found = numpy_pickle.load(content)
    assert isinstance(found, list)
    assert found[0] is found[1]
    np.testing.assert_array_equal([one.values() for one in found], [SIX, SIX, SIX + 1])


@pytest.mark.parametrize("other", [SIX.astype(np.int8), SIX.astype(object), SIX.astype("S1"), SIX.astype(">u2")])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_of_other_dtypes_are_refused(other, protocol):
    with pytest.raises(ValueError, match=r"must be of unsigned bytes \(u1\), got "):
        numpy_pickle.load(pickle.dumps(other, protocol))


@pytest.mark.parametrize("other", [np.asfortranarray(SIX), SIX[0], SIX[None], np.array(7, np.uint8)])
def test_arrays_of_other_forms_are_refused(other):
    with pytest.raises(ValueError, match="must have two dimensions and as many bytes as they say"):
        numpy_pickle.load(pickle.dumps(other, 4))


FORGED = {
    "code that is no string": (dtype(code=1), "got <class 'int'>"),
    "code that can't be printed": (dtype(code=DOUBLED), "got <class 'tuple'>"),
    "code that is long": (dtype(code="u" * 10**6), "got 'u{39}$"),
    "object": (dtype(code="O"), "got 'O'"),
    "fields": (dtype(state=(3, "|", None, ("a",), {}, 1, 1, 16)), "plain unsigned bytes"),
    "subarray": (dtype(state=(3, "|", ("u1", (2,)), None, None, 1, 1, 0)), "plain unsigned bytes"),
    "metadata": (dtype(state=(4, "|", None, None, None, 1, 1, 0, {})), "plain unsigned bytes"),
    "state of a dtype that can't be printed": (dtype(state=DOUBLED), "plain unsigned bytes"),
    "no dtype": (array(of=plain("u1")), "must have two dimensions"),
    "array as dtype": (array(of=EMPTY), "must have two dimensions"),
    "Fortran order": (array(fortran=True), "must have two dimensions"),
    "too few bytes": (array(content=TEXT[1:]), "as many bytes as they say"),
    "too many bytes": (array(content=TEXT + "x"), "as many bytes as they say"),
    "huge shape": (array(shape=(2**62, 2**62)), "as many bytes as they say"),
    "fraction in the shape": (array(shape=(2.0, 3)), "must have two dimensions"),
    "list as content": (array(content=[0] * 6), "must have two dimensions"),
    "state too long": (array_of(*map(plain, (1, (2, 3))), dtype(), *map(plain, (False, TEXT, 0))), "two dimensions"),
    "dictionary as state": (EMPTY + plain({"shape": (2, 3)}) + b"b", "must have two dimensions"),
    "array in itself": (EMPTY + b"q\x07h\x07b", "must have two dimensions"),
    "text by another code": (called("_codecs encode", plain(TEXT), plain("rot13")), "must be encoded as latin1"),
    "text by UTF-8": (called("_codecs encode", plain(TEXT)), "must be encoded as latin1"),
    "number as text": (called("_codecs encode", plain(3), plain("latin1")), "encoded from a string, got int"),
    "state of a string": (plain("u1") + plain((None, {})) + b"b", "gives a state to what has none"),
    "state of the class": (b"cnumpy\nndarray\n" + plain((None, {})) + b"b", "gives a state to what has none"),
    "call of the class": (called("numpy ndarray", plain((2, 3))), "calls what is no function"),
    "array with other arguments": (called("numpy.core.multiarray _reconstruct"), "makes no sense"),
    "array by another function": (called("numpy frombuffer", plain(TEXT)), "refuses numpy.frombuffer: only"),
    "items of an array": (array() + plain(0) + plain(1) + b"s", "sets items of what is no dictionary"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_arrays_are_refused(name):
    content, message = FORGED[name]
    with pytest.raises(ValueError, match=message):
        numpy_pickle.load(pickled(content))


def test_characters_that_are_no_bytes_are_refused():
    with pytest.raises(ValueError, match="latin-1"):
        load(pickled(array(content="\u0100" + TEXT[1:]))).values()


def test_an_array_without_a_state_is_empty():
    assert load(pickled(EMPTY)).values().shape == (0, 0)


def test_naming_bytes_again_does_not_multiply_them():
    """A megabyte that two hundred calls encode, and that two hundred arrays hold."""
    text, kind = plain("x" * 10**6) + b"q\x70", dtype() + b"q\x71"
    encoded = b"c_codecs\nencode\nh\x70" + plain("latin1") + b"\x86R"
    one = array_of(plain(1), plain((1, 10**6)), b"h\x71", plain(False), b"h\x70")
    content = pickled(b"](" + text + kind + encoded * 200 + one * 200 + b"e")
    tracemalloc.start()
    start = time.process_time()
    numpy_pickle.load(content)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 2e7
