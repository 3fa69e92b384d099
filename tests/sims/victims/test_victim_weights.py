"""The weights of a victim: what records say of them, and what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.classifiers.network import initial
from defenses.files.folders import Folders
from defenses.weights.cached import named
from defenses.zoo import read_model
from sims.records.key import settings_of
from sims.victims.victim import VictimOptions, load_victim, victim_inputs
from tests.defenses.files.torch_files import archive, dictionary, saved

SETS = ("state_dict", "state_dict_ema")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A network on pictures of a folder, from a file with two sets of weights that differ."""
    folder = tmp_path_factory.mktemp("victim")
    for number, pixels in enumerate(np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3), np.uint8)):
        (folder / "pictures" / f"{number}").mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}" / "a.png")
    run, storages = {}, {}
    for number, key in enumerate(SETS):
        arrays = {
            name: np.asarray(leaf)
            for name, leaf in named(initial(ARCHITECTURES["resnet20"], (32, 32, 3), 10, number)).items()
        }
        run[key], found = saved(arrays, first=1000 * number)
        storages |= found
    path = archive(folder / "run.pth", dictionary(**run), storages)
    return lambda **more: VictimOptions((read_model("resnet20"),), str(folder / "pictures"), path, **more)


def inputs(options):
    return victim_inputs(SimpleNamespace(victim=options, seed=0), Folders())


def test_records_name_the_set_of_weights(options):
    found = {key: inputs(options(weights_key=key))["weights"]["resnet20"] for key in SETS}
    assert [origin["key"] for origin in found.values()] == list(SETS)
    assert inputs(options())["weights"]["resnet20"] == found["state_dict"]
    assert found["state_dict"].items() - found["state_dict_ema"].items() == {("key", "state_dict")}


def test_the_set_of_weights_is_loaded(options):
    raw, averaged = (
        np.asarray(load_victim(options(**key), (), 0, Folders(), 0, least=0).network.params["linear"]["kernel"])
        for key in ({}, {"weights_key": "state_dict_ema"})
    )
    np.testing.assert_array_equal(raw, initial(ARCHITECTURES["resnet20"], (32, 32, 3), 10, 0)["linear"]["kernel"])
    assert np.any(raw != averaged)


def test_a_record_finds_the_set_of_weights_again(options):
    chosen = options(weights_key="state_dict_ema")
    assert VictimOptions.saved(json.loads(json.dumps(settings_of(chosen), default=str))) == chosen


def test_a_key_without_a_file_is_refused():
    with pytest.raises(ValueError, match="weights_key is of a file that weights names, got 'ema' without one"):
        VictimOptions((read_model("resnet20"),), "cifar10", weights_key="ema")


def test_a_key_that_is_not_there_is_refused(options):
    with pytest.raises(ValueError, match=r"run\.pth: weights_key must be one of state_dict, state_dict_ema, got 'ema'"):
        inputs(options(weights_key="ema"))
