"""What stands around a network in its checkpoint: prefixes that wrappers put before names, a count, a normalisation."""

import re
from collections.abc import Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel and AveragedModel, torch.compile, Lightning and others
AVERAGED = "n_averaged"  # how many steps torch.optim.swa_utils.AveragedModel has seen
_MEAN = re.compile(r"(|[\w.]+\.)(mu|mean)")
_STD = {"mu": "sigma", "mean": "std"}


def unwrapped(arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays without the prefixes that all names begin with, apart from those of a count and a normalisation."""
    outside = {name for name in arrays if is_average_count(name)} | set(normalizer(arrays) or ())
    prefix, inside = "", [name for name in arrays if name not in outside]
    while found := [one for one in PREFIXES if inside and all(name.startswith(prefix + one) for name in inside)]:
        prefix += found[0]
    return {name if name in outside else name.removeprefix(prefix): array for name, array in arrays.items()}


def is_average_count(name: str) -> bool:
    """Whether an array counts the steps of an average."""
    return name.rpartition(".")[2] == AVERAGED


def normalizer(arrays: Arrays) -> tuple[str, str] | None:
    """The names of the mean and the standard deviation that a wrapper takes off the images first, or None.

    `mu` and `sigma` or `mean` and `std`, side by side and anywhere, `normalize.mean` and `normalize.std`.
    Raises ValueError where there are two such pairs.
    """
    means = {name: match for name in arrays if (match := _MEAN.fullmatch(name))}
    pairs = [(name, match[1] + _STD[match[2]]) for name, match in means.items()]
    pairs = [pair for pair in pairs if pair[1] in arrays]
    if len(pairs) > 1:
        raise ValueError(f"holds two normalisations, {pairs[0][0]} and {pairs[1][0]}")
    return pairs[0] if pairs else None
