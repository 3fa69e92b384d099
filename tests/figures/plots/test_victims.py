"""Whose numbers they are: every figure and the closing table name the network, and never join two of them."""

import os
import shlex

import pytest
import tyro
from matplotlib.text import Text

from figures.command_line import main
from figures.pages.summary import summarise
from figures.plot import gather
from figures.registry import PLOTS
from sims.experiments.verify import Config
from sims.records import store
from sims.records.key import settings_of

CNN = {"model": ["cnn"], "dataset": "digits", "weights": None}
RESNET = {"model": ["resnet20"], "dataset": "cifar10", "weights": None}


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_names_its_victim(name, out, long_out):
    for folder, named, other in ((out, "cnn on digits", "resnet"), (long_out, "resnet50-v1 on imagenet", "cnn")):
        figure = PLOTS[name].draw(gather(PLOTS[name], folder))
        shown = [text.get_text() for text in figure.findobj(Text)]
        assert sum(named in words for words in shown) == 1
        assert not any(other in words for words in shown)


@pytest.mark.parametrize("name", PLOTS)
def test_a_record_that_names_no_victim_is_one_clear_error(name, record, tmp_path, capsys):
    (experiment,) = PLOTS[name].needs
    made = record(experiment)
    config = {key: value for key, value in made.manifest["config"].items() if key != "victim"}
    folder = store.write(made.folder, made.data, made.manifest | {"config": config}).folder
    assert main([name, "--out", str(tmp_path)]) == 2
    complaint = f"record {folder} names no victim; run `python -m sims {experiment}` again"
    assert capsys.readouterr().err == f"error: {complaint}\n"


def test_second_moment_of_an_unknown_instance_is_refused(record, tmp_path, capsys):
    names = ["quadratic", "quadratic", "digits", "cube"]
    folder = record("moments", lambda data: data.assign(instance=("curve", names))).folder
    assert main(["second-moment", "--out", str(tmp_path)]) == 2
    complaint = f"instance must be one of quadratic, network, got cube, digits in record {folder}; "
    assert capsys.readouterr().err == f"error: {complaint}run `python -m sims moments` again\n"
    assert not (tmp_path / "figures").exists()


@pytest.fixture
def add(synthetic, tmp_path):
    """A function that writes a record of an experiment on a victim, newer than those before, marked by its controls."""
    written = []

    def write(experiment: str, victim: dict | None, controls: int = 0):
        data, manifest = synthetic[experiment]()
        config = {key: value for key, value in manifest["config"].items() if key != "victim"}
        manifest = {**manifest, "config": config if victim is None else config | {"victim": victim}}
        if experiment == "verify":
            manifest["report"] |= {"controls": [{"name": "quarter", "caught": True}] * controls}
        folder = tmp_path / experiment / str(len(written))
        written.append(store.write(folder, data, manifest))
        os.utime(folder / "manifest.json", ns=(10**18, 10**18 + len(written)))
        return written[-1]

    return write


def test_summary_takes_the_newest_verification_of_the_attacked_victim(add, tmp_path, capsys):
    for victim, controls in ((CNN, 1), (CNN, 2), (RESNET, 3), (RESNET | {"weights": "mine.pth"}, 4), (None, 5)):
        add("verify", victim, controls)
    add("attack", CNN)
    summary = summarise(tmp_path)
    assert (summary["model"], summary["dataset"], summary["controls"]["all"]) == ("cnn", "digits", 2)
    add("attack", RESNET)
    summary = summarise(tmp_path)
    assert (summary["model"], summary["dataset"], summary["controls"]["all"]) == ("resnet20", "cifar10", 3)
    assert main(["summary", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("resnet20 on cifar10 ")
    add("attack", RESNET | {"weights": "mine.pth"})
    assert summarise(tmp_path)["controls"]["all"] == 4


@pytest.mark.parametrize("weights", [None, "my file.pth"])
def test_summary_without_a_verification_of_the_victim_names_the_command(weights, add, tmp_path, capsys):
    attacked = RESNET | {"weights": weights}
    add("attack", attacked)
    for other in (CNN, RESNET | {"weights": "other.pth"}, None):
        add("verify", other, 1)
    assert main(["summary", "--out", str(tmp_path), "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert f"no record of verify of resnet20 on cifar10 under {tmp_path}" in shown.err
    words = shlex.split(shown.err.split("`")[1])
    assert words[:4] == ["python", "-m", "sims", "verify"]
    expected = ["--model", "resnet20", "--dataset", "cifar10"] + (["--weights", weights] if weights else [])
    assert words[4:] == expected


def test_the_command_it_names_is_one_that_verify_takes(add, tmp_path, capsys):
    add("attack", RESNET)
    assert main(["summary", "--out", str(tmp_path)]) == 2
    words = shlex.split(capsys.readouterr().err.split("`")[1])
    assert settings_of(tyro.cli(Config, args=words[4:]).victim) == RESNET | {
        "weights_key": None,
        "resize": None,
        "classes": None,
    }


def test_summary_of_an_attack_that_names_no_victim_is_refused(add, tmp_path, capsys):
    add("verify", CNN, 1)
    folder = add("attack", None).folder
    assert main(["summary", "--out", str(tmp_path)]) == 2
    complaint = f"record {folder} names no victim; run `python -m sims attack` again"
    assert capsys.readouterr().err == f"error: {complaint}\n"
