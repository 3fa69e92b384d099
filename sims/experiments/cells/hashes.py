"""What a cell reads, by hashes: the pictures it looks at, and the model that answers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from defenses.data.dataset import Split, digest
from defenses.model import Model
from defenses.own.source import own_sources
from defenses.purifiers.table import Chain
from sims.engine.checkpoint import fingerprint
from sims.records.store import file_digest
from sims.victims.victim import Victim


def pictures_hash(victim: Victim, *further: np.ndarray) -> str:
    """Of the victim's pixels, labels and ids, and of what else is given for every image."""
    return fingerprint(digest(Split(victim.pictures, victim.labels)), victim.ids, *further)


def model_question(model: Model, chosen: tuple[Any, ...]) -> dict[str, Any]:
    """What was chosen for the model, the numbers in it, and a user's files behind it.

    chosen: a classifier and a chain of defences, or the address of a service, which has nothing to hash.
    """
    parts = [part for one in chosen for part in (one.parts if isinstance(one, Chain) else [one])]
    files = sorted({file for part in parts if not isinstance(part, str) for file in own_sources(part)})
    leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(model.params)]
    return {
        "chosen": list(map(str, chosen)),
        "params": fingerprint(*map(np.asarray, leaves)),
        "files": {str(file): file_digest(file) for file in files},
    }


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
