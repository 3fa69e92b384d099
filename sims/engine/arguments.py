"""What a run is given, made arrays and checked against its attack and its oracle before anything is asked."""

from typing import NamedTuple

import numpy as np

from defenses.data.inputs import as_array, as_images, as_labels, check_pixels
from sims.attacks.attack import Attack
from sims.victims.host import HostOracle
from sims.victims.oracle import Oracle


class Arguments(NamedTuple):
    """images (n, h, w, c) float32 in [0, 1], labels (n,) or goals (n, 2) int, ids (n,) int, starts like the images."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    starts: np.ndarray


def checked(attack: Attack, oracle: Oracle | HostOracle, images, labels, ids, starts) -> Arguments:
    """The arguments of `run_attack` as arrays; without starts an attack begins at its image. Raises as it does."""
    if attack.feedback != oracle.feedback:
        raise ValueError(f"oracle must answer with {attack.feedback} for {attack.name}, got {oracle.feedback}")
    images = as_images(images)
    check_pixels(images)
    labels = _labels(oracle, labels, len(images))
    starts = images if starts is None else as_array("starts", starts, np.float32)
    if starts.shape != images.shape or not ((starts >= 0) & (starts <= 1)).all():
        raise ValueError(f"starts must be {images.shape} in [0, 1], like the images, got {starts.shape}")
    ids = as_array("ids", ids)
    if ids.shape != (len(images),) or ids.dtype.kind not in "iu" or not ((ids >= 0) & (ids < 2**31)).all():
        raise ValueError(
            f"ids must be ({len(images)},) integers in [0, 2**31), one per image, got {ids.dtype} {ids.shape}"
        )
    return Arguments(images, labels, ids, starts)


def _labels(oracle: Oracle | HostOracle, labels, images: int) -> np.ndarray:
    """One class an image, of the oracle's; to a white-box attack its goal (n, 2), the true class and a rival."""
    if oracle.feedback == "gradient":
        goals = as_array("labels", labels)
        if goals.shape != (images, 2):
            raise ValueError(f"labels must be goals ({images}, 2), the true class and a rival, got {goals.shape}")
        labels = np.stack([as_labels(column, images) for column in goals.T], axis=1)
    else:
        labels = as_labels(labels, images)
    if oracle.num_classes is not None and labels.max() >= oracle.num_classes:
        raise ValueError(f"labels must be < {oracle.num_classes}, the victim's classes, got {labels.max()}")
    return labels
