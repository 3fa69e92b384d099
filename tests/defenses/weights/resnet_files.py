"""Weights files of a small network with random weights, as training runs and users leave them."""

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from defenses.weights.cached import named
from tests.defenses.files.torch_files import archive, dictionary, plain, saved

NAMES = tuple("0123456789")
BLANK = np.zeros((2, 32, 32, 3), np.float32)
MEAN, STD = np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.25, 0.3], np.float32)


def write(path: Path, params) -> Path:
    save_file({name: np.array(leaf) for name, leaf in named(params).items()}, path)
    return path


def scores(classifier):
    return np.asarray(classifier.logits(classifier.params, BLANK))


def carded(place, params, **card) -> Path:
    path = write(place.models / "cifar10-resnet20-seed0-abc.safetensors", params)
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def wrapped(place, params, mean=MEAN, std=STD, **card) -> Path:
    """Weights that hold a normalisation of their own, as RobustBench's do."""
    path = carded(place, params, **card)
    buffers = {"mu": mean.reshape(-1, 1, 1)[None], "sigma": std.reshape(-1, 1, 1)[None]}
    save_file({name: np.asarray(leaf) for name, leaf in named(params).items()} | buffers, path)
    return path


def two_sets(place, params) -> Path:
    """A training run with raw weights, and averaged ones that are half of them."""
    sets = [{name: factor * np.asarray(leaf) for name, leaf in named(params).items()} for factor in (1, 0.5)]
    (raw, storages), (averaged, more) = saved(sets[0]), saved(sets[1], first=len(sets[0]))
    args = plain(argparse.Namespace(lr=0.1))
    run = dictionary(args=args, state_dict=raw, state_dict_ema=averaged, metric=plain(np.float64(0.9)))
    return archive(place.data / "run.pth", run, storages | more)
