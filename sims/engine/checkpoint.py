"""The engine's saved state: one npz, written to a temporary name and renamed, bound to the run it belongs to."""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def fingerprint(*parts: Any) -> str:
    """A hash of strings, numbers, arrays and random keys that names one run."""
    digest = hashlib.sha256()
    for part in map(_data, parts):
        array = np.ascontiguousarray(part)
        digest.update(f"{array.dtype} {np.shape(part)} ".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _data(part: Any) -> Any:
    """What a random key is made of; any other part as it is."""
    is_key = isinstance(part, jax.Array) and jnp.issubdtype(part.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(part) if is_key else part


def save_state(path: Path, state: Any, totals: np.ndarray, mark: str) -> None:
    """Write the arrays of `state` and the host's totals; a reader sees the old file or the whole new one."""
    arrays: dict[str, Any] = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez(file, mark=np.array(mark), totals=totals, **arrays)
    os.replace(temporary, path)


def load_state(path: Path, template: Any, mark: str) -> tuple[Any, np.ndarray]:
    """The saved (state, totals), in the structure of `template`.

    Raises ValueError when the file is damaged or belongs to another run.
    """
    try:
        with path.open("rb") as file, np.load(file) as saved:
            arrays = {name: saved[name] for name in saved.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"checkpoint {path} is damaged ({error}); delete it to start over") from error
    leaves, structure = jax.tree.flatten(template)
    if str(arrays.get("mark")) != mark or len(arrays) != len(leaves) + 2:
        raise ValueError(f"checkpoint {path} belongs to another run; delete it to start over")
    restored = [jnp.asarray(arrays[f"leaf{i}"], leaf.dtype) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, restored), arrays["totals"]
