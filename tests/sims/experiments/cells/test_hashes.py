"""What a cell reads: another number in the model, another file, pixel, label or goal is another question."""

import numpy as np

from defenses.model import Model
from defenses.purifiers.table import read_defense
from defenses.zoo import read_model
from sims.experiments.cells.hashes import model_question, pictures_hash
from sims.victims.victim import Victim


def asked(weights, *chosen, **origin):
    model = Model("m", {"w": weights}, lambda params, keys, images: images, 2)
    nothing = np.zeros(0)
    return model_question(Victim({"d": model}, {}, nothing, nothing, nothing, {"d": chosen}, {"d": origin}), "d")


def test_the_numbers_in_a_model_count():
    chosen = (read_model("cnn"), read_defense("jpeg"))
    weights = np.arange(4.0, dtype=np.float32)
    one = asked(weights, *chosen)
    assert one == asked(weights.copy(), *chosen)
    assert one != asked(np.nextafter(weights, np.float32(9)), *chosen)
    assert one != asked(weights, read_model("cnn"), read_defense("jpeg:quality=10"))
    assert one["chosen"] == ["cnn", "jpeg"]


def test_the_normalisation_and_where_an_architecture_strides_count():
    """They are in no number of the model."""
    names = ("resnet50", "resnet50-v1")
    asks = [asked(np.zeros(1), read_model(name), normalization=mean) for name in names for mean in ("0.5", "0.4")]
    for i, one in enumerate(asks):
        for other in asks[i + 1 :]:
            assert {**one, "chosen": ""} != {**other, "chosen": ""}


def test_a_users_file_and_what_it_imports_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from helper_of_mine import SCALE\n\ndef net(images):\n    return SCALE * images\n"
    )
    (tmp_path / "helper_of_mine.py").write_text("SCALE = 1\n")
    chosen = (read_model("mine.py:net"), read_defense("none"))
    before = asked(np.zeros(1), *chosen)
    assert {name.rpartition("/")[2] for name in before["files"]} == {"mine.py", "helper_of_mine.py"}
    (tmp_path / "helper_of_mine.py").write_text("SCALE = 2\n")
    assert asked(np.zeros(1), *chosen) != before


def test_a_service_is_known_by_its_address():
    assert asked((), "http://one") != asked((), "http://two")


def test_pixels_labels_ids_and_what_is_given_beside_them_count():
    images, labels, ids = np.zeros((3, 2, 2, 1), np.float32), np.arange(3), np.arange(3)
    victim, given = Victim({}, {}, images, labels, ids), np.arange(3)
    before = pictures_hash(victim, given)
    assert before == pictures_hash(victim, given.copy())
    pixel = images.copy()
    pixel[2, 1, 1, 0] = np.nextafter(np.float32(0), np.float32(1))
    others = [
        pictures_hash(victim._replace(pictures=pixel), given),
        pictures_hash(victim._replace(labels=labels[::-1].copy()), given),
        pictures_hash(victim._replace(ids=ids + 1), given),
        pictures_hash(victim, given + 1),
        pictures_hash(victim),
    ]
    assert len({before, *others}) == 6
