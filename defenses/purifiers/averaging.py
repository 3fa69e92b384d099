"""Averaging on the defender's side: every answer is the mean of several independent runs of what follows."""

from dataclasses import dataclass
from functools import partial

from defenses.model import AVERAGES, mean_of
from defenses.options.ranges import check_counts
from defenses.purifiers.method import Method


@dataclass(frozen=True)
class MeanOf:
    """Settings of the mean."""

    runs: int = 10
    """Independent runs behind every answer, >= 1."""
    of: str = "logits"
    """What is averaged: logits, probabilities or votes."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_counts(self, runs=1)
        if self.of not in AVERAGES:
            raise ValueError(f"of must be one of {', '.join(AVERAGES)}, got {self.of!r}")


METHOD = Method(
    MeanOf,
    lambda settings, _: partial(mean_of, runs=settings.runs, of=settings.of),
    "Yoon et al. 2021, arXiv 2106.06041: ten runs averaged; write it before what it averages",
    passes="runs",
)
