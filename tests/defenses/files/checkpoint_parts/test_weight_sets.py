"""Files with several sets of weights: which one is taken, and what is said of a key that is not there."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from defenses.files.checkpoint import read_arrays, read_chosen, read_sets
from defenses.files.checkpoint_parts.weight_sets import AVERAGED, ORDER, RAW, WHOLE, chosen
from tests.defenses.files.torch_files import WRITERS, archive, dictionary, plain, storage, tensor

SCALARS = dictionary(accuracy=tensor((), ()))


def weights(name):
    return dictionary(**{name: tensor()})


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("averaged", AVERAGED)
@pytest.mark.parametrize("raw", ["state_dict", "model"])
def test_raw_and_averaged_weights(raw, averaged, write, tmp_path):
    path = write(tmp_path / "a.pth", dictionary(**{averaged: weights("ema"), "epoch": plain(3), raw: weights("raw")}))
    assert set(read_sets(path).keys) == {raw, averaged}
    assert list(read_arrays(path)) == ["raw"]
    assert list(read_arrays(path, key=averaged)) == ["ema"]
    found = read_chosen(path, key=averaged)
    assert (list(found.arrays), found.key, found.others) == (["ema"], averaged, (raw,))


@pytest.mark.parametrize("key", ORDER[:-1])
def test_one_set_alone_is_taken(key, tmp_path):
    content = weights("a") if key == WHOLE else dictionary(**{key: weights("a"), "loss": SCALARS})
    found = read_chosen(archive(tmp_path / "a.pth", content))
    assert (list(found.arrays), found.key, found.others) == (["a"], key, ())


def test_raw_weights_come_first():
    assert (*RAW, WHOLE, *AVERAGED) == ORDER
    assert chosen(AVERAGED[::-1], None) == "state_dict_ema"
    assert chosen(("ema", WHOLE), None) == WHOLE


@pytest.mark.parametrize("write", WRITERS)
def test_a_key_that_is_not_there_lists_those_that_are(write, tmp_path):
    path = write(tmp_path / "a.pth", dictionary(state_dict=weights("a"), state_dict_ema=weights("b"), loss=SCALARS))
    for key in ("ema", "loss", "epoch", ""):
        with pytest.raises(
            ValueError, match=f"a.pth: weights_key must be one of state_dict, state_dict_ema, got {key!r}"
        ):
            read_arrays(path, key=key)
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"b\.safetensors: weights_key must be one of \., got 'ema'"):
        read_arrays(tmp_path / "b.safetensors", key="ema")


@pytest.mark.parametrize("write", WRITERS)
def test_keys_that_nobody_knows_are_chosen_by_name_alone(write, tmp_path):
    path = write(tmp_path / "a.pth", dictionary(generator=weights("a"), critic=weights("b")))
    with pytest.raises(
        ValueError, match=r"a\.pth: holds no dictionary .* --weights-key chooses one of generator, critic"
    ):
        read_arrays(path)
    assert list(read_arrays(path, key="critic")) == ["b"]


def test_what_has_only_scalars_is_no_network(tmp_path):
    path = archive(tmp_path / "a.pth", dictionary(step=tensor((), ()), model=weights("a"), metrics=SCALARS))
    assert read_sets(path).keys == ("model",)


def test_a_set_that_is_not_asked_for_is_not_decoded(tmp_path):
    """Its storage is missing, which only whoever asks for it hears."""
    absent = dictionary(a=tensor(of=storage("9", 6)))
    path = archive(tmp_path / "a.pth", dictionary(state_dict=weights("a"), state_dict_ema=absent))
    assert list(read_arrays(path)) == ["a"]
    with pytest.raises(ValueError, match=r"a\.pth: holds tensor a, which has no entry archive/data/9"):
        read_arrays(path, key="state_dict_ema")


def test_one_dictionary_under_many_keys_is_looked_at_once(tmp_path):
    """Ten thousand keys of a dictionary of a thousand numbers: as many looks as there are numbers and keys."""
    shared = plain({f"{number}": 0 for number in range(1000)}) + b"q\x70"
    many = b"".join(plain(f"k{number}") + b"h\x70" for number in range(10_000))
    content = b"}(" + plain("first") + shared + many + plain("model") + weights("a") + b"u"
    assert read_sets(archive(tmp_path / "a.pth", content)).keys == ("model",)
