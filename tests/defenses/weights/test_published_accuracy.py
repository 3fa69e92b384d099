"""Published weights reach their published accuracy on the published images, through the whole command."""

import json

import pytest

from defenses.command_line import main
from tests.paths import DATA

IMAGENET_300 = 0.7  # two of 300 images: decoders and resizing differ


@pytest.mark.as_users_compile
@pytest.mark.parametrize(
    ("model", "dataset", "images", "percent", "within"),
    [
        pytest.param("resnet20", "cifar10", 10_000, 91.73, 0.05, marks=pytest.mark.slow),
        pytest.param("vit-tiny-16", "imagenet", 300, 66.0, IMAGENET_300, marks=pytest.mark.slow),
        pytest.param("resnet56", "cifar10", 10_000, 93.39, 0.05, marks=pytest.mark.slow),
        pytest.param("resnet50-v1", "imagenet", 300, 71.0, IMAGENET_300, marks=pytest.mark.slow),
    ],
)
def test_accuracy(model, dataset, images, percent, within, capsys, tmp_path):
    if not (DATA / "weights").is_dir():
        pytest.skip(f"no published weights in {DATA.name}/weights")
    assert (
        main(["evaluate", model, "--dataset", dataset, "--data-dir", str(DATA), "--out", str(tmp_path), "--json"]) == 0
    )
    row = json.loads(capsys.readouterr().out)
    assert row["images"] == images
    assert abs(100 * row["accuracy"] - percent) <= within + 1e-9
