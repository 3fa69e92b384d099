"""The recheck of a saved `attack` record: every lie is caught, and no honest record is refused."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from defenses.files.folders import Folders
from defenses.zoo import read_model
from sims.command_line import main
from sims.experiments.attack.recheck import recheck
from sims.experiments.experiment import Context
from sims.records import store
from sims.records.key import settings_of
from sims.victims.victim import VictimOptions
from tests.sims.edited import MISSING, edited
from tests.sims.experiments.forging import forged
from tests.sims.victims.reference_server import Memory, Server

SMALL = ["--images", "8", "--query-budget", "60", "--draws", "2", "--evaluations", "3", "--rows", "16", "--tile", "8"]
NES = "nes:smoothing_radius=0.05,num_directions=4"
HONEST = {
    "plain": ["--epsilon", "0.3", "--attacks", NES, "square", "simba:step=0.3,average=2", "rays"],
    "voted": [
        "--epsilon", "1.5", "--norm", "l2", "--attacks", "square:reevaluate=true", "boundary",
        "--stopping", "majority:5",
    ],
    "targeted": ["--epsilon", "inf", "--norm", "l2", "--targeted", "--attacks", "boundary:average=3", "simba:step=1.0"],
}  # fmt: skip
HONEST = {name: [*arguments, "--defenses", "none", "gaussian-noise:std=0.2"] for name, arguments in HONEST.items()}


def made(results, *arguments):
    assert main(["attack", *SMALL, *arguments, "--out", str(results), "--json"]) == 0
    return store.latest(results, "attack")


def rechecked(folder, results, capsys):
    capsys.readouterr()
    status = main(["attack", "--recheck", str(folder), "--out", str(results), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["ok"] else 1)
    return report


@pytest.fixture(scope="module")
def record(results):
    """The plain one without the averaged attack."""
    return made(results, *(argument for argument in HONEST["plain"] if not argument.startswith("simba")))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", HONEST.values(), ids=HONEST)
def test_an_honest_record_is_confirmed(results, capsys, arguments):
    honest = made(results, *arguments)
    report = rechecked(honest.folder, results, capsys)
    assert report["altered"] == []
    assert report["ok"], report["rows"]
    assert len(report["rows"]) == honest.data.sizes["attack"] * 2
    tested = [row for row in report["rows"] if row["defense"] == "none"]
    assert all(row["success_not_confirmed"] == 0 for row in tested)
    assert any(row["loss_not_as_claimed"] == 0 for row in tested)
    assert 0 < honest.data.success.values.mean() < 1


def place(data: xr.Dataset, attack: str, defense: str = "none") -> tuple[int, int]:
    return list(data.defense.values).index(defense), list(data.attack.values).index(attack)


def set_to(name, value, *where):
    def forge(data, manifest):
        data[name][place(data, *where) if where else ...] = value

    return forge


def set_all(**values):
    def forge(data, manifest):
        for name, value in values.items():
            data[name][...] = value

    return forge


def hide_a_success(data, manifest):
    at = place(data, "square")
    data.success[at], data.status[at], data.queries[at] = False, 2, 60


def say_it_is_random(data, manifest):
    data.randomized[...], data.success[...], data.status[...] = True, True, 1


def end_elsewhere(data, manifest):
    at = place(data, "square")
    image = data.success.values[at].argmax()
    data.adversarial[at][image] = data.clean[image] + 0.9 * (data.adversarial[at][image] - data.clean[image])


def leave_the_ball(data, manifest):
    data.adversarial[1, 0, 0] = 1 - data.clean[0].round()


def exhausted_early(data, manifest):
    at = place(data, NES)
    data.success[at], data.status[at], data.queries[at] = False, 2, 51


def late_success(data, manifest):
    at = place(data, "square")
    data.queries[at] = np.where(data.success[at], 59, data.queries[at])


CLAIMS = {
    "one-query": (set_all(queries=1), "queries_not_possible"),
    "negative-queries": (set_all(queries=-5), "queries_not_possible"),
    "too-many-queries": (set_all(queries=61), "queries_not_possible"),
    "exhausted-with-a-step-to-spare": (exhausted_early, "queries_not_possible"),
    "success-long-after-it": (late_success, "loss_not_as_claimed"),
    "loss-of-a-score-attack": (set_to("trace", -9, "square"), "loss_not_as_claimed"),
    "loss-of-a-descent": (set_to("trace", -9, NES), "loss_not_as_claimed"),
    "unknown-loss": (set_to("trace", np.inf, "square"), "loss_not_as_claimed"),
    "loss-of-another-image": (end_elsewhere, "loss_not_as_claimed"),
    "distance": (set_to("trace", -9, "rays"), "trace_not_as_claimed"),
    "distance-of-another-image": (set_to("trace", 0.01, "rays", "gaussian-noise:std=0.2"), "trace_not_as_claimed"),
    "success": (set_all(success=True, status=1), "success_not_confirmed"),
    "hidden-success": (hide_a_success, "success_not_confirmed"),
    "success-on-random": (say_it_is_random, "success_not_confirmed"),
    "status": (set_all(status=2), "status_not_success"),
    "still-running": (set_all(status=0), "status_not_success"),
    "distance-as-told": (set_all(distance=0.01), "distance_not_as_claimed"),
    "ball": (leave_the_ball, "outside_the_ball"),
    "draws": (set_to("fooled", 3, "rays", "gaussian-noise:std=0.2"), "fresh_draws_not_as_saved"),
    "more-draws-than-made": (set_all(fooled=4), "fresh_draws_not_possible"),
}


TOGETHER = (  # lies that leave each other alone, each with the attack and the defence where it is told
    {
        "exhausted-with-a-step-to-spare": (NES, "none"),
        "success-long-after-it": ("square", "none"),
        "distance": ("rays", "none"),
        "draws": ("rays", "gaussian-noise:std=0.2"),
        "distance-as-told": ("square", "gaussian-noise:std=0.2"),
    },
    {
        "loss-of-a-descent": (NES, "none"),
        "hidden-success": ("square", "none"),
        "ball": (NES, "gaussian-noise:std=0.2"),
        "more-draws-than-made": ("rays", "gaussian-noise:std=0.2"),
    },
)


@pytest.mark.parametrize(
    ("forge", "claim"),
    [
        pytest.param(*CLAIMS[name], id=name, marks=[pytest.mark.slow] * (name not in {"one-query", "status"}))
        for name in CLAIMS
    ],
)
def test_a_false_claim_is_caught(record, results, tmp_path, capsys, forge, claim):
    report = rechecked(forged(record, forge, tmp_path), results, capsys)
    assert sum(row[claim] or 0 for row in report["rows"]) >= 1


@pytest.mark.parametrize("lies", TOGETHER, ids=" ".join)
def test_each_of_several_false_claims_is_caught_where_it_is_told(record, results, tmp_path, capsys, lies):
    report = rechecked(forged(record, all_of(lies, CLAIMS), tmp_path), results, capsys)
    rows = {(row["attack"], row["defense"]): row for row in report["rows"]}
    for name, where in lies.items():
        assert rows[where][CLAIMS[name][1]], name


def all_of(lies, table):
    """They are told one after the other."""

    def forge(data, manifest):
        for name in lies:
            table[name][0](data, manifest)

    return forge


def better_report(data, manifest):
    manifest["report"]["rows"][0]["robust_accuracy"] = 0.0


def setting_of(name, value, part=None):
    def forge(data, manifest):
        (manifest["config"] if part is None else manifest["config"][part])[name] = value

    return forge


def another_attack(data, manifest):
    manifest["config"]["attacks"][-1] = "rays:average=2"


def fewer_queries(data, manifest):
    manifest["queries"] = 1


def other_pictures(data, manifest):
    manifest["pictures"] = "0" * 64


ALTERED = {
    "report": (better_report, "report"),
    "epsilon": (setting_of("epsilon", 0.5, "threat"), "report"),
    "budget": (setting_of("query_budget", 100, "threat"), "count"),
    "stopping": (setting_of("stopping", "re-evaluation"), "report"),
    "seed": (setting_of("seed", 1), "start"),
    "images": (setting_of("images", 9), "image"),
    "attack": (another_attack, "attack"),
    "evaluations": (set_all(evaluations=7), "evaluations"),
    "randomized": (say_it_is_random, "randomized"),
    "label": (set_all(label=3), "label"),
    "goal": (set_all(goal=3), "goal"),
    "pictures": (other_pictures, "pictures"),
    "start": (set_all(start=0), "start"),
    "shown": (set_all(shown_clean=0.5), "shown_clean"),
    "shown-adversarial": (set_all(shown_adversarial=0.5), "shown_adversarial"),
    "shown-purified": (set_all(shown_purified=0.5), "shown_purified"),
    "queries": (fewer_queries, "queries"),
}


AT_ONCE = (  # what is compared before anything is forwarded, and what after it
    ("attack", "label", "goal", "pictures", "start"),
    ("report", "evaluations", "randomized", "queries", "shown-adversarial", "shown-purified"),
)


@pytest.mark.parametrize(
    ("forge", "name"),
    [
        pytest.param(*lie, id=name, marks=[pytest.mark.slow] * (name not in {"label", "epsilon"}))
        for name, lie in ALTERED.items()
    ],
)
def test_what_was_attacked_is_not_taken_on_trust(record, results, tmp_path, capsys, forge, name):
    report = rechecked(forged(record, forge, tmp_path), results, capsys)
    assert name in report["altered"]
    assert not report["ok"]


@pytest.mark.parametrize("lies", AT_ONCE, ids=" ".join)
def test_all_that_was_altered_is_named(record, results, tmp_path, capsys, lies):
    report = rechecked(forged(record, all_of(lies, ALTERED), tmp_path), results, capsys)
    assert sorted(report["altered"]) == sorted(ALTERED[name][1] for name in lies)
    assert not report["ok"]


def test_settings_of_no_version_are_refused_even_if_the_digest_is_right(record, results, tmp_path, capsys):
    """One missing, one too many, one of another type: a forger can make the digest anew."""
    config = record.manifest["config"]
    paths = [(key,) for key in config] + [("threat", key) for key in config["threat"]] + [("victim", "model")]
    changes = [(path, value) for path in paths for value in (MISSING, 8.5 if path[-1] != "epsilon" else "8.5")]
    for path, value in (*changes, (("added",), 1), (("threat", "added"), 1), (("victim", "added"), 1)):
        forgery = record._replace(manifest=record.manifest | {"config": edited(config, path, value)})
        with pytest.raises(ValueError, match=f"must have settings as this version saves them, {path[-1]} is none$"):
            recheck(forgery, Context(Folders(), tmp_path, tmp_path, lambda *_: None))
    for best in ("text", {}, {"smoothing_radius": "0.1"}):
        folder = store.write(tmp_path / "forged", record.data, record.manifest | {"best_response": best}).folder
        assert main(["attack", "--recheck", str(folder), "--out", str(results)]) == 2
        said = f"error: record {folder} must have the smoothing_radius of its best_response\n"
        assert capsys.readouterr().err == said


def test_an_edited_record_is_not_rechecked(record, results, tmp_path, capsys):
    folder = store.write(tmp_path / "edited", record.data, record.manifest).folder
    for key in record.manifest:
        (folder / "manifest.json").write_text(json.dumps(edited(record.manifest, (key,), MISSING)))
        assert main(["attack", "--recheck", str(folder), "--out", str(results)]) == 2
        assert capsys.readouterr().err.startswith(f"error: record {folder} is damaged (manifest.json ")


def test_a_record_of_another_version_is_refused(record, results, tmp_path, capsys):
    folder = store.write(tmp_path / "old", record.data.drop_vars("start"), record.manifest).folder
    assert main(["attack", "--recheck", str(folder), "--out", str(results)]) == 2
    assert "must have start, made by this version" in capsys.readouterr().err


@pytest.mark.slow
def test_a_service_gives_every_attack_and_run_draws_of_its_own(results, capsys):
    """And is not called a liar when it has forgotten them."""
    random, memory = np.random.default_rng(0), Memory()
    attacks = ["--attacks", "null", "null:average=2", "nes:num_directions=4", "nes:num_directions=4,step_fraction=0.1"]
    with Server(lambda rows: random.normal(size=(len(rows), 10)).astype(np.float32), memory) as server:
        base = ["--defenses", "none", "--service", server.url]
        runs = [made(results, *base, *attacks)]
        runs += [
            made(results, *base, *attacks[:2], *more) for more in (["--seed", "1"], ["--stopping", "re-evaluation"])
        ]
        assert len(set(memory.keys)) == len(memory.keys) > 20
    for run in runs:
        report = rechecked(run.folder, results, capsys)
        assert report["ok"], report
        assert {row["fresh_draws_not_as_saved"] for row in report["rows"] if row["defense"] == server.url} == {None}


def test_a_record_with_weights_from_a_file_finds_them_again(tmp_path):
    file = tmp_path / "mine.pth"
    file.write_bytes(b"weights")
    options = VictimOptions((read_model("resnet20"),), "cifar10", file)
    assert VictimOptions.saved(json.loads(json.dumps(settings_of(options), default=str))) == options
    file.unlink()
    with pytest.raises(ValueError, match="weights must be a file that can be read"):
        VictimOptions.saved({"model": ["resnet20"], "dataset": "cifar10", "weights": str(file)})


def test_a_record_without_its_cells_is_refused(record, results, tmp_path, capsys):
    """It holds no images: one that is shipped, or moved, cannot be rechecked."""
    folder = store.write(tmp_path / "moved" / "alone", record.data, record.manifest).folder
    assert main(["attack", "--recheck", str(folder), "--out", str(results)]) == 2
    assert "must have its cells beside it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "exchange",
    ["another attack's", *(pytest.param(f"another {of}'s", marks=pytest.mark.slow) for of in ("measurement", "run"))],
)
def test_a_cell_that_was_exchanged_is_refused(record, results, tmp_path, capsys, exchange):
    """By its name, or by the pictures it was computed on."""

    def forge(data, manifest):
        cells = manifest["cells"]
        if exchange == "another run's":
            manifest["pictures"] = cells["square on none"]
        cells["square on none"] = cells["rays on none" if "attack" in exchange else "V and gradient of none"]

    folder = forged(record, forge, tmp_path)
    shutil.copytree(record.folder.parent / "cells", folder.parent / "cells", dirs_exist_ok=True)
    status = main(["attack", "--recheck", str(folder), "--out", str(results)])
    said = capsys.readouterr()
    if exchange == "another run's":
        assert status == 1  # its pictures are altered
    else:
        assert (status, said.err.count("\n")) == (2, 1)
        assert "must have square on none on its pictures as cell" in said.err
