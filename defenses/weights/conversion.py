"""From a checkpoint's arrays to a network's params: names and layouts by scheme, then every shape checked."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from defenses.classifiers.architecture import Architecture
from defenses.files.checkpoint_parts.wrappers import is_average_count, normalizer
from defenses.weights.cached import named

OWN_NAMES = "own names"
COUNTER = ".num_batches_tracked"  # of PyTorch's batch norms; inference has no use for it
VARIANCE = "/var"  # of our batch norms
ADAPTER = re.compile(r"\.lora_(?:A|B|up|down|embedding_[AB])\b")  # a low-rank change of a network's array, by PEFT
Arrays = Mapping[str, np.ndarray]
Scheme = Callable[[Arrays], Arrays]
Shapes = Mapping[str, tuple[int, ...]]


def convert(arrays: Arrays, architecture: Architecture, template: PyTree, path: Path) -> PyTree:
    """Params of float32 with the template's structure, from a checkpoint's arrays by name.

    template: nested dictionary of `jax.ShapeDtypeStruct`; the arrays' own names are those of `weights.named`, by
        which trained weights are stored. The own names are tried first, then the architecture's schemes in their order.
    path: the file, for messages.
    What wrappers keep beside the network (`wrappers.normalizer`, counters) is left out.
    Raises ValueError for a LoRA adapter; when no scheme gives exactly the template's names and shapes, with the first
    array that is missing, unexpected or misshapen; when two arrays become one; when an array holds truth values, a
    value is not finite in float32, or a variance is negative.
    """
    if adapter := next(filter(ADAPTER.search, arrays), None):
        advice = "merge it into the network that it adapts, and give that"
        raise ValueError(f"{path}: holds a LoRA adapter ({adapter:.80}), not a network: {advice}")
    expected = {name: leaf.shape for name, leaf in named(template).items()}
    beside = {*(normalizer(arrays) or ()), *(name for name, array in arrays.items() if _is_counter(name, array))}
    arrays = {name: _float32(array, name, path) for name, array in arrays.items() if name not in beside}
    schemes = {OWN_NAMES: _own_names(expected), **architecture.schemes}
    unknown, misfits = {}, {}
    for scheme, rename in schemes.items():
        try:
            converted = rename(arrays)
        except KeyError as error:
            unknown[scheme] = f"{error.args[0]} is unknown"
            continue
        except (ValueError, IndexError) as error:  # a shape that it can't lay out, two names of one array
            unknown[scheme] = f"the arrays don't fit ({error})"
            continue
        if misfit := _misfit(converted, expected):
            misfits[scheme] = _told(misfit, rename, arrays)
            continue
        leaves = [_leaf(converted[name], name, path) for name in expected]
        return jax.tree.unflatten(jax.tree.structure(template), leaves)
    faults = "; ".join(f"by {scheme}: {fault}" for scheme, fault in (misfits or unknown).items())
    raise ValueError(f"{path}: its arrays are not those of the network; {faults} (tried {', '.join(schemes)})")


def _is_counter(name: str, array: np.ndarray) -> bool:
    counts = name.endswith(COUNTER) or is_average_count(name)
    return counts and array.shape == () and np.issubdtype(array.dtype, np.integer)


def _float32(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """The same numbers in one dtype, so that schemes can join arrays; what is too large becomes infinite."""
    if array.dtype == np.bool_:
        raise ValueError(f"{path}: {name} holds truth values, expected numbers")
    with np.errstate(over="ignore"):
        return np.asarray(array, np.float32)


def _own_names(expected: Shapes) -> Scheme:
    def keep(arrays: Arrays) -> Arrays:
        return {name: arrays[name] for name in arrays if expected[name] is not None}

    return keep


class _Misfit(NamedTuple):
    """An array that the template lacks (expected is None), or the file (found is None), or of another shape."""

    name: str
    expected: tuple[int, ...] | None
    found: tuple[int, ...] | None


def _misfit(converted: Arrays, expected: Shapes) -> _Misfit | None:
    """The first array that is missing, else unexpected, else misshapen."""
    found = {name: array.shape for name, array in converted.items()}
    names = [*(name for name in expected if name not in found), *(name for name in found if name not in expected)]
    names += [name for name in expected if name in found and found[name] != expected[name]]
    return _Misfit(names[0], expected.get(names[0]), found.get(names[0])) if names else None


def _told(misfit: _Misfit, rename: Scheme, arrays: Arrays) -> str:
    """The misfit in words, by the file's name where one array of the file gives it."""
    if misfit.found is None:
        return f"{misfit.name} is missing, expected shape {misfit.expected}"
    origin = _origin(misfit.name, rename, arrays)
    of_file = misfit.name if origin is None else f"{origin} of shape {arrays[origin].shape}"
    if misfit.expected is None:
        return f"{of_file} is unexpected"
    return f"{of_file} gives {misfit.name} of shape {misfit.found}, expected {misfit.expected}"


def _origin(name: str, rename: Scheme, arrays: Arrays) -> str | None:
    """The name in the file of the one array that alone becomes `name`, or None."""
    for origin, array in arrays.items():
        try:
            if name in rename({origin: array}):
                return origin
        except (KeyError, ValueError, IndexError):  # becomes an array only together with others
            continue
    return None


def _leaf(array: np.ndarray, name: str, path: Path) -> jax.Array:
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {name} holds values that are not finite in float32")
    if name.endswith(VARIANCE) and (array < 0).any():
        raise ValueError(f"{path}: {name} holds {array.min():.3g}, variances must be >= 0")
    return jnp.asarray(np.array(array, order="C"))
