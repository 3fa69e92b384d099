"""What a foreign attack has spent on each image, and the best adversarial image it has queried within the budget.

A peer is credited with what it queried, not with what it returns: the first row that fools the victim inside box and
ball, or, where the distance is minimised, the closest row that fools it. That is what an observer of our own attacks
sees, it is never less than what the peer returns if it queries that too, and it makes the cut exact: rows beyond an
image's budget are counted as forwarded, and credit nothing.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from sims.attacks.ball import Norm

TOLERANCE = 1e-6  # of box and ball, for float32 arithmetic in other libraries


class BudgetSpent(Exception):
    """No image that still resists can be helped by another row."""


class Account:
    """Rows and successes of the images (n, h, w, c) that a peer attacks together.

    closest: credit the closest row that fools, not the first one within epsilon (inf: at any distance).
    spent: (n,) rows asked for each image, beyond its budget too. queries: (n,) rows up to the first success, or within
    the budget. best: the image credited, the clean one before any; distance: (n,) from clean to it, inf before any.
    outside: rows that left [0, 1].
    """

    def __init__(
        self,
        images: Float[np.ndarray, "n h w c"],
        labels: Int[np.ndarray, " n"],
        norm: Norm,
        epsilon: float,
        budget: int,
        closest: bool,
    ):
        self.images, self.labels = images, labels
        self.norm: Norm = norm
        self.epsilon, self.budget, self.closest = epsilon, budget, closest
        self.best, self.distance = images.copy(), np.full(len(images), np.inf)
        self.spent, self.queries = np.zeros(len(images), int), np.zeros(len(images), int)
        self.outside = 0

    @property
    def success(self) -> Bool[np.ndarray, " n"]:
        """Whether an adversarial image has been credited."""
        return np.isfinite(self.distance)

    def owners(self, rows: Float[np.ndarray, "m h w c"]) -> Int[np.ndarray, " m"]:
        """The image each row belongs to.

        In a ball it is the one nearest in the norm of the ball: that image alone is within ε, unless two images are
        less than 2ε apart. Without a ball the peers ask for all images in order, once or several times over.
        """
        if self.epsilon == np.inf or len(self.images) == 1:
            return np.arange(len(rows)) % len(self.images)
        return nearest(self.norm, _flat(rows), _flat(self.images))

    def open(self, owners: Int[np.ndarray, " m"]) -> tuple[Bool[np.ndarray, " m"], bool]:
        """Charge these rows; which of them their image can pay for, and whether the attack may go on after them."""
        turn = np.cumsum(owners[:, None] == np.arange(len(self.images)), axis=0)[np.arange(len(owners)), owners]
        paid = self.spent[owners] + turn <= self.budget
        self.spent += np.bincount(owners, minlength=len(self.images))
        broken = self.success & (not self.closest)
        alive = bool(((self.spent < self.budget) & ~broken).any())
        return paid, alive or bool(paid.all())

    def credit(self, rows: Float[np.ndarray, "m h w c"], owners, paid, scores: Float[np.ndarray, "m classes"]) -> None:
        """Write down the rows that were answered, in their order; those not paid for are only counted."""
        valid = (rows >= -TOLERANCE).all(axis=(1, 2, 3)) & (rows <= 1 + TOLERANCE).all(axis=(1, 2, 3))
        self.outside += int((~valid).sum())
        fooled = paid & valid & (scores.argmax(axis=1) != self.labels[owners])
        for row, owner, pays, fools in zip(rows, owners, paid, fooled, strict=True):
            if not pays or (self.success[owner] and not self.closest):
                continue
            self.queries[owner] += 1
            if fools:
                self._adversarial(owner, row)

    def _adversarial(self, owner: int, row: Float[np.ndarray, "h w c"]) -> None:
        delta = (row - self.images[owner]).astype(np.float64)
        length = float(np.abs(delta).max() if self.norm == "linf" else np.sqrt((delta**2).sum()))
        if length <= self.epsilon * (1 + TOLERANCE) + TOLERANCE and length < self.distance[owner]:
            self.best[owner], self.distance[owner] = row, length


def nearest(norm: Norm, rows: Float[np.ndarray, "m d"], images: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " m"]:
    """The image nearest to each row in that norm.

    In ℓ∞, only images whose ℓ2 distance over √d is not above the ℓ∞ distance of the one nearest in ℓ2 can be nearer.
    """
    squares = (rows**2).sum(axis=1)[:, None] + (images**2).sum(axis=1) - 2 * rows @ images.T
    guess = np.argmin(squares, axis=1)
    if norm == "l2":
        return guess
    lengths = np.full(squares.shape, np.inf)
    lengths[np.arange(len(rows)), guess] = bound = np.abs(rows - images[guess]).max(axis=1)
    for i, image in enumerate(images):
        possible = squares[:, i] <= rows.shape[1] * bound**2
        lengths[possible, i] = np.abs(rows[possible] - image).max(axis=1)
    return np.argmin(lengths, axis=1)


def _flat(images: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    return images.reshape(len(images), -1).astype(np.float64)
