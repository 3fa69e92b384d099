"""For every image another one to start from: targets, and starting points of the attacks that walk in."""

import numpy as np
from jaxtyping import Int


def starting_images(labels: Int[np.ndarray, " n"], ids: Int[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " n"]:
    """(n,) the place of an image of another class, for every image: uniform, and drawn from (seed, its id).

    Its class is the image's target in a targeted run, the image itself the start of an attack that walks in.
    Raises ValueError when all images have one class.
    """
    if len(np.unique(labels)) < 2:
        raise ValueError(f"images must be of two classes at least to start from each other, all have {labels[0]}")
    return np.array(
        [
            np.random.default_rng([seed, int(number)]).choice(np.flatnonzero(labels != label))
            for label, number in zip(labels, ids, strict=True)
        ]
    )
