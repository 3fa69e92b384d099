"""Pairs from attacks, kept part by part; the report of a pool by hand; and the command on the digits."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from defenses import zoo
from defenses.data.dataset import training_images
from defenses.files.folders import Folders
from defenses.purifiers.implicit.plans import plan_for
from sims.command_line import main
from sims.experiments.cells.cell import records_of
from sims.experiments.experiment import Context
from sims.experiments.pool import pairs
from sims.experiments.pool.run import report
from sims.records.store import latest, pixels_of

PLAN = plan_for("puridefense", "digits")
PLAN = PLAN._replace(recipe=replace(PLAN.recipe, images=40))


def made(name, folder, models, advance=lambda *_: None):
    dataset, victim = zoo.load("digits", Folders().data), zoo.classifier("cnn", "digits", 0, Folders(models))
    context = Context(Folders(models), folder / "states", folder / "cells", advance)
    (record,) = records_of(context, [pairs.pairs_cell(name, PLAN, dataset, victim, 0, context)])
    images, labels = training_images(dataset)
    return pixels_of(record, "attacked"), images[np.arange(40)], labels[:40], victim


@pytest.mark.parametrize("name", ["fgsm", "square"])
def test_attacked_images_lie_in_the_ball_and_mislead(name, tmp_path, models):
    moved, clean, labels, victim = made(name, tmp_path, models)
    assert moved.dtype == np.uint8
    assert np.abs(moved / 255 - clean).max() <= (PLAN.recipe.epsilon + 0.5) / 255 + 1e-6  # they are rounded
    logits = np.asarray(victim.logits(victim.params, jnp.asarray(moved / 255, jnp.float32)))
    assert (logits.argmax(axis=1) == labels).mean() < 0.5


def test_parts_that_are_done_are_not_attacked_again(tmp_path, models, monkeypatch):
    """Interrupted in its second part, it goes on there, and ends with the images of an uninterrupted run."""
    whole = made("fgsm", tmp_path / "whole", models)[0]
    monkeypatch.setattr(pairs, "PART", 16)
    begun = []

    def stop(task, done, total):
        begun.append(done)
        if begun == [0, 16]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made("fgsm", tmp_path / "parts", models, stop)
    found = made("fgsm", tmp_path / "parts", models, stop)[0]
    assert begun == [0, 16, 16, 32]
    np.testing.assert_array_equal(found, whole)


def test_the_report_by_hand():
    """Five images: four right at first, of which the attack breaks three; the member puts two of these right."""
    clean = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], bool)
    attacked = np.array([[1, 0, 0, 0, 0], [1, 1, 1, 0, 1]], bool)
    dims = ("defense", "image")
    data = xr.Dataset(
        {
            "right_clean": (dims, clean),
            "right_attacked": (dims, attacked),
            "attack": ("defense", ["", "pgd"]),
            "size": ("defense", ["", "light"]),
        },
        {"defense": ["none", "member 0"], "image": np.arange(5)},
    )
    found = report(data, {"file": "pool.safetensors"})
    assert found["broken"] == 3
    assert [row["accuracy"] for row in found["rows"]] == [0.8, 0.6]
    assert [row["restored"] for row in found["rows"]] == [0, pytest.approx(2 / 3)]
    assert found["rows"][1]["attack"] == "pgd"


@pytest.mark.slow
def test_the_command_gives_a_pool_that_is_used_by_its_file(tmp_path, models, capsys):
    (tmp_path / "models").symlink_to(models)
    assert main(["pool", "--judged", "100", "--out", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 1 + 16 + 4
    together = {row["defense"]: row for row in rows[-4:]}
    assert min(row["accuracy"] for row in together.values()) > 0.9
    assert min(row["restored"] for row in together.values()) > 0.1 > rows[0]["restored"]
    file = latest(tmp_path, "pool").manifest["file"]
    attack = ["attack", "--images", "4", "--query-budget", "20", "--attacks", "square", "--out", str(tmp_path)]
    assert main([*attack, "--defenses", f"puridefense:patch_size=4,pool={file}"]) == 0
    assert main([*attack, "--defenses", "puridefense:pool=nowhere.safetensors"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
