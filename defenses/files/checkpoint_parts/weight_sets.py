"""The sets of weights that one file holds, such as the raw ones of a training run and their moving average."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

WHOLE = "."  # the key of arrays that lie at the top of a file
RAW = ("state_dict", "model", "model_state", "model_state_dict", "net")  # under which trainers put weights
AVERAGED = ("state_dict_ema", "model_ema", "model_state_dict_ema", "ema_state_dict", "ema_model", "net_ema", "ema")
ORDER = (*RAW, WHOLE, *AVERAGED)


class Sets(NamedTuple):
    """keys: of the sets, in the file's order. arrays: the arrays by name of the set under a key, decoded when asked."""

    keys: tuple[str, ...]
    arrays: Callable[[str], dict[str, np.ndarray]]


def chosen(keys: Sequence[str], wanted: str | None) -> str:
    """The key `wanted`; without one the first of `ORDER` that is there.

    Raw weights come before averaged ones, as they do in the evaluations of timm and torchvision, which take the
    average only when told to. Raises ValueError for a wanted key that is not there, and where none of `ORDER` is.
    """
    if wanted is not None:
        if wanted not in keys:
            raise ValueError(f"weights_key must be one of {', '.join(keys):.400}, got {wanted!r}")
        return wanted
    known = [key for key in ORDER if key in keys]
    if not known:
        raise ValueError(
            "holds no dictionary of tensors by name at its top or under a key that is known; "
            f"--weights-key chooses one of {', '.join(keys):.400}"
        )
    return known[0]
