"""What stands around a network in its checkpoint, in every format."""

from itertools import permutations

import numpy as np
import pytest
from safetensors.numpy import save_file

from defenses.files.checkpoint import read_arrays
from defenses.files.checkpoint_parts.wrappers import normalizer, unwrapped
from tests.defenses.files.torch_files import WRITERS, archive, saved

NETWORK = {"conv1.weight": np.ones((2, 3), np.float32), "layer1.0.bn1.bias": np.zeros(4, np.float32)}
PREFIXES = ("module.", "_orig_mod.", "model.")
COUNT = np.array(7)


def prefixed(prefix, arrays=NETWORK):
    return {prefix + name: array for name, array in arrays.items()}


COMBINATIONS = [
    *(first for first in PREFIXES),
    *("".join(order) for count in (2, 3) for order in permutations(PREFIXES, count)),
    "module.module.model.",
]


@pytest.mark.parametrize("prefix", COMBINATIONS)
def test_prefixes_of_all_names_are_dropped(prefix, tmp_path):
    arrays = prefixed(prefix)
    assert list(unwrapped(arrays)) == list(NETWORK)
    for write in WRITERS[:1]:
        assert list(read_arrays(write(tmp_path / "a.pth", *saved(arrays)))) == list(NETWORK)
    save_file(arrays, tmp_path / "a.safetensors")
    assert list(read_arrays(tmp_path / "a.safetensors")) == sorted(NETWORK)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_some_names_stay(prefix):
    mixed = {**prefixed(prefix), "fc.bias": np.zeros(3)}
    assert unwrapped(mixed) == mixed
    twice = prefixed(prefix, {**prefixed(prefix), "fc.bias": np.zeros(3)})
    assert list(unwrapped(twice)) == [*prefixed(prefix), "fc.bias"]


def test_a_prefix_within_a_name_stays():
    names = {"a.module.b": np.zeros(1), "remodel.c": np.zeros(1)}
    assert list(unwrapped(names)) == list(names)


NORMALIZERS = {
    "RobustBench": ("mu", "sigma"),
    "wrapped RobustBench": ("module.mu", "module.sigma"),
    "buffers": ("mean", "std"),
    "layer": ("normalize.mean", "normalize.std"),
    "deep layer": ("module.normalizer.mu", "module.normalizer.sigma"),
}


@pytest.mark.parametrize("names", NORMALIZERS.values(), ids=NORMALIZERS)
def test_a_normalisation_beside_a_network(names):
    mean, std = names
    around = {mean: np.zeros((1, 3, 1, 1)), std: np.ones((1, 3, 1, 1))}
    arrays = {**around, **prefixed("module.model.")}
    assert normalizer(arrays) == names
    assert list(unwrapped(arrays)) == [*names, *NETWORK]


def test_statistics_of_norms_are_no_normalisation():
    for names in (
        ("bn1.running_mean", "bn1.running_var"),
        ("bn1/mean", "bn1/std"),
        ("a.mean", "b.std"),
        ("mu", "std"),
        ("mean", "sigma"),
        ("mean",),
        ("xmean", "xstd"),
    ):
        assert normalizer(dict.fromkeys(names, np.ones(3))) is None


def test_two_normalisations_are_refused(tmp_path):
    arrays = dict.fromkeys(("mu", "sigma", "normalize.mean", "normalize.std"), np.ones(3, np.float32)) | NETWORK
    path = archive(tmp_path / "a.pth", *saved(arrays))
    with pytest.raises(ValueError, match=r"a\.pth: holds two normalisations, mu and normalize\.mean$"):
        read_arrays(path)


def test_the_count_of_an_average_has_no_prefix():
    arrays = {"n_averaged": COUNT, **prefixed("module.")}
    assert list(unwrapped(arrays)) == ["n_averaged", *NETWORK]
