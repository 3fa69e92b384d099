"""Pairs of a clean and an attacked image, which local implicit purifiers learn from; by gradient attacks, made here.

Pairs of query attacks are made by `python -m sims pool`, above this folder.
"""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import UInt8

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Images, as_bytes
from defenses.training.adversarial import Adversary, Ascent, ascent

BATCH = 128

Attacked = UInt8[np.ndarray, "n h w c"]


def _from_clean(attack: Ascent) -> Ascent:
    return attack._replace(start=lambda key, images: images)


GRADIENT_ATTACKS: dict[str, Callable[[float, Callable], Ascent]] = {
    "fgsm": lambda epsilon, logits: _from_clean(ascent(logits, Adversary(epsilon, epsilon, 1))),
    "bim": lambda epsilon, logits: _from_clean(ascent(logits, Adversary(epsilon, epsilon / 4, 10))),
    "pgd": lambda epsilon, logits: ascent(logits, Adversary(epsilon, epsilon / 4, 10)),
}
"""(ℓ∞ radius in units of 1/255, logits) -> the attack: one step, ten from the clean image, ten from a random start."""


def attacked(
    name: str, classifier: Classifier, epsilon: float, images: Images, labels: np.ndarray, seed: int
) -> Attacked:
    """(n, h, w, c) what the gradient attack of that name makes of the images, as 8-bit images are kept.

    images, labels: n images in [0, 1] and their (n,) classes. epsilon: in units of 1/255. Batch i draws from
    `fold_in(key(seed), i)`.
    """
    climber = GRADIENT_ATTACKS[name](epsilon, classifier.logits)
    moved = np.empty(images.shape, np.uint8)
    for number, start in enumerate(range(0, len(labels), BATCH)):
        rows = np.minimum(np.arange(start, start + BATCH), len(labels) - 1)  # one compiled shape
        key = jax.random.fold_in(jax.random.key(seed), number)
        batch, classes = jax.device_put((images[rows], labels[rows]))
        result = as_bytes(np.asarray(climber.perturbed(classifier.params, key, batch, classes)))
        moved[start : start + BATCH] = result[: len(labels) - start]
    return moved
